{
  "targets": [
    {
      "target_name": "selfconnect",
      "sources": ["<!@(node native/sources.mjs <(OS))"],
      "include_dirs": ["native", "<!(node -p \"require('node-addon-api').include_dir\")"],
      "defines": ["<!@(node native/compile.mjs defines)"],
      "cflags": ["<!@(node native/compile.mjs flags)"],
      "ldflags": ["-s"],
      "cflags_cc!": ["-std=gnu++17", "-std=gnu++14"],
      "cflags_cc": ["<!@(node native/compile.mjs standard)"],
      "xcode_settings": {
        "CLANG_CXX_LANGUAGE_STANDARD": "c++20",
        "GCC_SYMBOLS_PRIVATE_EXTERN": "YES",
        "MACOSX_DEPLOYMENT_TARGET": "11.0"
      }
    }
  ]
}
