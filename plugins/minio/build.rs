//! Link options of the module.

/// The size of the module's stack in bytes. The linker's default, 1 MiB, would be cleared by the host after every call; what a
/// provider needs is bounded by the nesting depth of JSON: at the maximum of 127, some 44 KiB.
const STACK: usize = 64 * 1024;
/// The initial size of the memory in bytes: enough for the calls of most parents, because growing and releasing memory costs the
/// host as much as a small call; and no more, because all of it is cleared after every call.
const MEMORY: usize = 192 * 1024;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_ARCH").is_ok_and(|arch| arch == "wasm32") {
        println!("cargo::rustc-link-arg-cdylib=-zstack-size={STACK}");
        println!("cargo::rustc-link-arg-cdylib=--initial-memory={MEMORY}");
    }
}
