# nc in a shell loop, as in the article that this package started from. Arguments: port, milliseconds. Run by bash.
command -v nc >/dev/null || { echo "nc is not installed (netcat-openbsd)" >&2; exit 1; }
started=${EPOCHREALTIME/[.,]/}
ends=$((started + $2 * 1000))
count=0
while now=${EPOCHREALTIME/[.,]/}; ((now < ends)); do
  nc 127.0.0.1 "$1" </dev/null && exit 1
  count=$((count + 1))
done
echo "{\"count\":$count,\"elapsedNs\":$(((now - started) * 1000))}"
