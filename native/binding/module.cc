#include <napi.h>

#include "binding/environment.h"
#include "binding/value.h"

namespace binding {

namespace {

Napi::Object init(Napi::Env env, Napi::Object exports) {
  env.SetInstanceData(new Environment(env));
  if (env.IsExceptionPending()) return exports;
  export_socket(env, exports);
  export_descriptor(exports);
  export_foreign(exports);
  export_host(env, exports);
  export_option(env, exports);
  export_reactor(exports);
  export_message(exports);
  export_burst(env, exports);
  export_capture(env, exports);
  export_connects(exports);
  export_diag(env, exports);
  return exports;
}

NODE_API_MODULE(selfconnect, init)

}  // namespace

}  // namespace binding
