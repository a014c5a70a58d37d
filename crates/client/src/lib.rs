//! Typed client library and the rusty-kv command line
