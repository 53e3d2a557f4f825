# bash's /dev/tcp, in a subshell because a failed redirection ends the shell. Arguments: port, milliseconds. Run by bash.
started=${EPOCHREALTIME/[.,]/}
ends=$((started + $2 * 1000))
count=0
while now=${EPOCHREALTIME/[.,]/}; ((now < ends)); do
  (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null && exit 1
  count=$((count + 1))
done
echo "{\"count\":$count,\"elapsedNs\":$(((now - started) * 1000))}"
