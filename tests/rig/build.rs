//! The rig counts heap operations by defining the C library's `malloc` family itself: a plug-in that is loaded later
//! must find these definitions, so the program exports its symbols.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "linux") {
        println!("cargo:rustc-link-arg-bins=-rdynamic");
    }
}
