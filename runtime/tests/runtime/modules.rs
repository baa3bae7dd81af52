//! Modules in the text format, and the runtime that loads them.

use std::sync::OnceLock;

use bartizan_runtime::{Config, Module, Runtime};
use wit_component::{StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// The runtime that all tests share, as in a host.
pub(crate) fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| Runtime::new(Config::default()).unwrap())
}

/// A provider whose `reconcile(ptr, len)` has this body, loaded.
pub(crate) fn provider(reconcile: &str) -> Module {
    runtime().load(&module(&core(MANIFEST, "", reconcile))).unwrap()
}

/// A provider whose `describe` returns this text, loaded.
pub(crate) fn describing(manifest: &str) -> Module {
    runtime().load(&module(&core(manifest, "", "unreachable"))).unwrap()
}

/// A valid manifest.
pub(crate) const MANIFEST: &str = r#"{"apiVersion": "provider.bartizan.dev/v1alpha1", "kind": "ProviderManifest",
    "name": "written", "version": "1", "crds": [{
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "things.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced", "names": {"kind": "Thing", "plural": "things"},
            "versions": [{"name": "v1", "served": true, "storage": true}]}}]}"#;

/// Text that `$log` in a body can point to.
pub(crate) const LOGGED: &str = "the reason";

/// A core module of the contract. Memory: a result's return area at 0, [`LOGGED`] at 512, the manifest at 1024, and from
/// 64 KiB on what `cabi_realloc` hands out. A body may use `$ptr` and `$len` (the request), call `$ok` (pointer and
/// length of the response; gives the result), `$log` (level, pointer, length) and `$deep` (which never comes back).
pub(crate) fn core(manifest: &str, more: &str, reconcile: &str) -> String {
    let data: String = manifest.bytes().map(|byte| format!("\\{byte:02x}")).collect();
    format!(
        r#"(module
            (import "bartizan:provider/log@0.1.0" "write" (func $log (param i32 i32 i32)))
            (memory (export "memory") 2)
            (global $heap (mut i32) (i32.const 65536))
            (data (i32.const 512) "{LOGGED}")
            (data (i32.const 1024) "{data}")
            (func (export "cabi_realloc") (param i32 i32 i32) (param $size i32) (result i32)
                global.get $heap
                (global.set $heap (i32.add (global.get $heap) (local.get $size)))
                (if (i32.gt_u (global.get $heap) (i32.mul (memory.size) (i32.const 65536)))
                    (then (drop (memory.grow (i32.add (i32.shr_u (local.get $size) (i32.const 16)) (i32.const 1)))))))
            (func $ok (param $at i32) (param $bytes i32) (result i32)
                (i32.store8 (i32.const 0) (i32.const 0))
                (i32.store (i32.const 4) (local.get $at))
                (i32.store (i32.const 8) (local.get $bytes))
                i32.const 0)
            (func $deep (result i32) (i32.add (call $deep) (i32.const 1)))
            {more}
            (func (export "bartizan:provider/provider@0.1.0#describe") (result i32)
                (i32.store (i32.const 0) (i32.const 1024))
                (i32.store (i32.const 4) (i32.const {length}))
                i32.const 0)
            (func $decide (export "bartizan:provider/provider@0.1.0#reconcile") (param $ptr i32) (param $len i32) (result i32)
                {reconcile}))"#,
        length = manifest.len(),
    )
}

/// The bytes of a core module, with the section in which wit-bindgen records its world.
pub(crate) fn module(text: &str) -> Vec<u8> {
    let mut wasm = wat::parse_str(text).unwrap();
    let mut resolve = Resolve::default();
    let package = resolve.push_str("provider.wit", include_str!("../../../wit/provider.wit")).unwrap();
    let world = resolve.select_world(&[package], Some("plugin")).unwrap();
    embed_component_metadata(&mut wasm, &resolve, world, StringEncoding::UTF8).unwrap();
    wasm
}
