//! Under RealtimeSanitizer the test plug-in, which is built with it too, looks for its functions in the child's program,
//! which therefore exports its symbols.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if std::env::var_os("CARGO_FEATURE_RTSAN").is_some() {
        println!("cargo:rustc-link-arg-bins=-rdynamic");
    }
}
