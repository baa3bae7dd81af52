//! What can be loaded, and the exact messages for what cannot.

use bartizan_runtime::{Config, Limits, Runtime};
use rstest::rstest;

use crate::modules::{MANIFEST, core, module, runtime};

fn refusal(wasm: &[u8]) -> String {
    runtime().load(wasm).unwrap_err().to_string()
}

#[test]
fn a_core_module_becomes_a_component_identified_by_its_digest() {
    let wasm = module(&core(MANIFEST, "", "unreachable"));
    let module = runtime().load(&wasm).unwrap();
    assert_eq!(module.size(), wasm.len());
    assert!(!module.from_cache());
    assert_eq!(module.digest().len(), "sha256:".len() + 64);
    assert_eq!(module.digest(), runtime().load(&wasm).unwrap().digest());
    assert_eq!(module.describe(&Limits::default()).unwrap().manifest.name, "written");
}

#[test]
fn a_component_is_loaded_as_it_is() {
    let wasm = module(&core(MANIFEST, "", "unreachable"));
    let component = wit_component::ComponentEncoder::default().module(&wasm).unwrap().encode().unwrap();
    let module = runtime().load(&component).unwrap();
    assert_eq!(module.describe(&Limits::default()).unwrap().manifest.name, "written");
}

#[test]
fn the_newer_mangling_of_core_functions_is_accepted() {
    let text = core(MANIFEST, "", "(call $ok (local.get $ptr) (local.get $len))")
        .replace("\"bartizan:provider/log@0.1.0\"", "\"cm32p2|bartizan:provider/log@0.1\"")
        .replace("bartizan:provider/provider@0.1.0#", "cm32p2|bartizan:provider/provider@0.1|")
        .replace("\"memory\"", "\"cm32p2_memory\"")
        .replace("\"cabi_realloc\"", "\"cm32p2_realloc\"");
    let module = runtime().load(&module(&text)).unwrap();
    assert_eq!(module.reconcile(b"{}", &Limits::default()).unwrap().response, b"{}");
}

#[rstest]
#[case::empty(b"", "the file is empty, perhaps because it is still being copied; build or copy the module again")]
#[case::text(
    b"hello, I am a text file",
    "not a WebAssembly module: it begins with \"hello, I am \", not with \"\\0asm\"; use the .wasm file that the build produced"
)]
#[case::first_bytes_only(
    b"\0as",
    "the module is damaged or truncated at byte 0 (unexpected end-of-file): build or copy it again"
)]
#[case::no_provider(
    b"\0asm\x01\0\0\0",
    "the core module was not built as a provider: it has no custom section \"component-type\"; build it with bartizan-sdk, or with wit-bindgen for the world bartizan:provider/plugin@0.1.0"
)]
#[case::no_export(
    b"\0asm\x0d\0\x01\0",
    "does not export \"bartizan:provider/provider@0.1.0\": it is not a provider, or was built for another version of the contract (bartizan:provider/provider@0.1.0)"
)]
fn bytes_that_are_not_a_provider_are_refused_with_the_reason(#[case] wasm: &[u8], #[case] expected: &str) {
    assert_eq!(refusal(wasm), expected);
}

#[test]
fn a_module_truncated_anywhere_is_refused() {
    let wasm = module(&core(MANIFEST, "", "unreachable"));
    for length in (8..wasm.len()).step_by(97) {
        let message = refusal(&wasm[..length]);
        let cut = message.starts_with("the module is damaged or truncated at byte ");
        // Truncated between two sections it is a valid module without the last section, which describes its world.
        assert!(cut || message.starts_with("the core module was not built as a provider"), "{length}: {message}");
    }
}

#[rstest]
#[case(
    "env",
    "foo",
    "imports \"env/foo\", which is not allowed: the only allowed import is bartizan:provider/log@0.1.0 (and WASI 0.2 in components from other languages)"
)]
#[case(
    "wasi_snapshot_preview1",
    "fd_write",
    "imports \"wasi_snapshot_preview1/fd_write\", which is not allowed: build it for wasm32-unknown-unknown, or make it a component with the WASI adapter"
)]
#[case(
    "__wbindgen_placeholder__",
    "__wbindgen_describe",
    "imports \"__wbindgen_placeholder__/__wbindgen_describe\", which is not allowed: one of its dependencies needs a browser (wasm-bindgen); disable that feature of the dependency"
)]
#[case(
    "bartizan:provider/log@0.2.0",
    "write",
    "imports \"bartizan:provider/log@0.2.0/write\", which is not allowed: the only allowed import is bartizan:provider/log@0.1.0 (and WASI 0.2 in components from other languages)"
)]
fn a_foreign_import_of_a_core_module_is_named(#[case] from: &str, #[case] name: &str, #[case] expected: &str) {
    let text = format!("(module (import \"{from}\" \"{name}\" (func)))");
    assert_eq!(refusal(&wat::parse_str(text).unwrap()), expected);
}

#[rstest]
#[case(
    "wasi:http/outgoing-handler@0.2.3",
    "imports \"wasi:http/outgoing-handler@0.2.3\", which is not allowed: providers have no network access"
)]
#[case(
    "wasi:random/random@0.3.0",
    "imports \"wasi:random/random@0.3.0\", which is not allowed: the only allowed import is bartizan:provider/log@0.1.0 (and WASI 0.2 in components from other languages)"
)]
#[case(
    "acme:disk/files@1.0.0",
    "imports \"acme:disk/files@1.0.0\", which is not allowed: the only allowed import is bartizan:provider/log@0.1.0 (and WASI 0.2 in components from other languages)"
)]
fn a_foreign_import_of_a_component_is_named(#[case] import: &str, #[case] expected: &str) {
    let text = format!("(component (import \"{import}\" (instance (export \"f\" (func)))))");
    assert_eq!(refusal(&wat::parse_str(text).unwrap()), expected);
}

#[rstest]
#[case(
    "",
    "does not export \"bartizan:provider/provider@0.1.0#describe\": it is not a provider, or was built for another version of the contract (bartizan:provider/provider@0.1.0)"
)]
#[case(
    "(export \"describe\" (func $f))",
    "exports \"bartizan:provider/provider@0.1.0#describe\" with the wrong type: build it with the WIT of bartizan:provider/provider@0.1.0"
)]
fn an_export_of_another_type_is_named(#[case] functions: &str, #[case] expected: &str) {
    let text = format!(
        "(component
            (core module $m (func (export \"f\")))
            (core instance $i (instantiate $m))
            (func $f (canon lift (core func $i \"f\")))
            (instance $p {functions} (export \"other\" (func $f)))
            (export \"bartizan:provider/provider@0.1.0\" (instance $p)))"
    );
    assert_eq!(refusal(&wat::parse_str(text).unwrap()), expected);
}

#[test]
fn a_core_module_without_the_exports_of_its_world_is_refused() {
    let message = refusal(&module("(module)"));
    assert!(message.starts_with("the core module cannot be turned into a component: "), "{message}");
    assert!(message.ends_with("; rebuild it with a single version of its SDK"), "{message}");
}

#[rstest]
#[case::memory64("(memory i64 1)")]
#[case::relaxed_simd("(func (param v128 v128) (result v128) (i8x16.relaxed_swizzle (local.get 0) (local.get 1)))")]
fn what_is_not_deterministic_or_needlessly_large_is_refused(#[case] item: &str) {
    let message = refusal(&wat::parse_str(format!("(module {item})")).unwrap());
    assert!(message.starts_with("the module is damaged or truncated at byte "), "{message}");
}

#[rstest]
#[case::memories("(memory 1)", 16, "needs 17 memories, more than the limit of 16 per instance")]
#[case::tables("(table 9 funcref)", 65, "needs 65 tables, more than the limit of 64 per instance")]
#[case::elements(
    "(table 200000 funcref)",
    1,
    "needs 200000 elements in a table, more than the limit of 100000 per instance"
)]
#[case::globals(
    "(global i32 (i32.const 0))",
    100_000,
    "needs 100001 globals in a module, more than the limit of 100000 per instance"
)]
#[case::functions("(func)", 100_000, "needs 100005 functions in a module, more than the limit of 100000 per instance")]
fn more_resources_than_an_instance_has_are_refused(#[case] item: &str, #[case] times: usize, #[case] expected: &str) {
    // The module has a memory, a global and some functions of its own.
    assert_eq!(refusal(&module(&core(MANIFEST, &item.repeat(times), "unreachable"))), expected);
}

#[test]
fn many_small_modules_in_one_component_are_counted_together() {
    let instances = "(core instance (instantiate $m))".repeat(17);
    let text = format!("(component (core module $m (memory 1)) {instances})");
    assert_eq!(refusal(&wat::parse_str(text).unwrap()), "needs 17 memories, more than the limit of 16 per instance");
}

#[test]
fn the_defaults_allow_64_mebibytes_and_a_minute_of_compilation() {
    let config = Config::default();
    assert_eq!((config.module_bytes, config.compile_timeout.as_secs()), (64 * 1024 * 1024, 60));
}

#[test]
fn sizes_are_capped_before_anything_is_compiled() {
    let config = Config { module_bytes: 1000, concurrent_calls: 1, ..Config::default() };
    let error = Runtime::new(config).unwrap().load(&[b'\0'; 1001]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the module has 1001 bytes, more than the limit of 1000; build it optimised and stripped"
    );

    let config = Config { function_bytes: 100, concurrent_calls: 1, ..Config::default() };
    let wasm = module(&core(MANIFEST, "", &format!("{} unreachable", "nop ".repeat(200))));
    let error = Runtime::new(config).unwrap().load(&wasm).unwrap_err();
    assert_eq!(
        error.to_string(),
        "a function of the module has 203 bytes, more than the limit of 100; build it optimised"
    );
}

#[test]
fn the_compiler_has_a_timeout() {
    let config = Config { compile_timeout: std::time::Duration::ZERO, concurrent_calls: 1, ..Config::default() };
    // Long enough that the compiler cannot be done before anybody waits for it.
    let code = format!("{} unreachable", "i32.const 1 drop ".repeat(20_000));
    let error = Runtime::new(config).unwrap().load(&module(&core(MANIFEST, "", &code))).unwrap_err();
    assert_eq!(
        error.to_string(),
        "could not be compiled within 0ns: the module is too complex; build it optimised, with smaller functions"
    );
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// What a compiler of this shell command makes of a module.
fn compiled_by(command: &str, seconds: u64) -> String {
    let compiler = ["/bin/sh", "-c", command].map(std::ffi::OsString::from).to_vec();
    let compile_timeout = std::time::Duration::from_secs(seconds);
    let config = Config { compiler: Some(compiler), compile_timeout, concurrent_calls: 1, ..Config::default() };
    let error = Runtime::new(config).unwrap().load(&module(&core(MANIFEST, "", "unreachable"))).unwrap_err();
    error.to_string()
}

#[test]
fn a_compiler_process_is_killed_at_its_timeout_and_its_failure_reported() {
    let late =
        "could not be compiled within 0ns: the module is too complex; build it optimised, with smaller functions";
    assert_eq!(compiled_by("sleep 60", 0), late);
    assert_eq!(compiled_by("cat >&2 > /dev/null; echo too large >&2; exit 2", 60), "cannot be compiled: too large");
    assert_eq!(
        compiled_by("cat > /dev/null; exit 3", 60),
        "the compiler was interrupted: it ended with exit status: 3"
    );
    assert_eq!(
        compiled_by("cat > /dev/null; kill -9 $$", 60),
        "the compiler was interrupted: it ended with signal: 9 (SIGKILL)"
    );
    let lacking = "could not be compiled with 1073741824 bytes of memory: the module is too large or too complex; build it optimised \
                   and stripped, or raise --compile-memory and the memory limit of the host";
    assert_eq!(compiled_by("cat > /dev/null; echo memory allocation of 8 bytes failed >&2; kill -6 $$", 60), lacking);
    // The limits are its own to set.
    assert_eq!(
        compiled_by("cat > /dev/null; echo \"$0\" \"$1\" >&2; exit 1", 60),
        format!("cannot be compiled: --memory=1073741824 --seconds={}", 60 * processors())
    );
    let config = Config { compiler: Some(vec!["/no/such/program".into()]), concurrent_calls: 1, ..Config::default() };
    let error = Runtime::new(config).unwrap().load(&module(&core(MANIFEST, "", "unreachable"))).unwrap_err();
    assert!(error.may_pass());
    let expected = "the compiler was interrupted: it cannot be started: No such file or directory (os error 2)";
    assert_eq!(error.to_string(), expected);
}
