//! Link options of the module.

/// Bytes of the module's stack. The linker's default, 1 MiB, is memory that the host clears after every call; what a
/// provider needs is bounded by how deep JSON may be nested, and where it is 127 deep that is some 44 KiB.
const STACK: usize = 64 * 1024;
/// Bytes of memory to begin with: enough for the calls of most parents, since to get more, and to give it back, costs the host
/// as much as a small call; and no more, since all of it is cleared after every call, which goes through the caches.
const MEMORY: usize = 192 * 1024;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_ARCH").is_ok_and(|arch| arch == "wasm32") {
        println!("cargo::rustc-link-arg-cdylib=-zstack-size={STACK}");
        println!("cargo::rustc-link-arg-cdylib=--initial-memory={MEMORY}");
    }
}
