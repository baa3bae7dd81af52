//! Modules that do not fit the slots of the pool run as well, within the same limits.

use std::time::{Duration, Instant};

use bartizan_runtime::{Config, Fault, Limits, Module, Runtime};
use rstest::rstest;

use crate::modules::{MANIFEST, core, module, runtime};

/// One table more than the pool has elements for.
const LARGE: &str = "(table 50000 funcref)";

fn load(more: &str, reconcile: &str) -> Module {
    runtime().load(&module(&core(MANIFEST, more, reconcile))).unwrap()
}

#[rstest]
#[case::memories("(memory 1)(memory 1)(memory 1)(memory 1)".to_owned())]
#[case::tables("(table 9 funcref)".repeat(9))]
#[case::elements(LARGE.to_owned())]
#[case::a_large_instance("(global (mut v128) (v128.const i64x2 0 0))".repeat(70_000))]
fn a_module_that_does_not_fit_the_pool_can_be_called(#[case] more: String) {
    let echo = load(&more, "(call $ok (local.get $ptr) (local.get $len))");
    assert!(!echo.is_pooled());
    assert_eq!(echo.describe(&Limits::default()).unwrap().manifest.name, "written");
    assert_eq!(echo.reconcile(b"{}", &Limits::default()).unwrap().response, b"{}");
}

#[test]
fn a_module_that_fits_is_pooled() {
    assert!(load("(memory 1)(memory 1)(memory 1)(table 40000 funcref)", "unreachable").is_pooled());
}

#[test]
fn each_call_has_an_instance_of_its_own() {
    let counter = load(
        LARGE,
        "(i32.store8 (i32.const 1024) (i32.add (i32.load8_u (i32.const 1024)) (i32.const 1)))
         (call $ok (i32.const 1024) (i32.const 1))",
    );
    for _ in 0..3 {
        assert_eq!(counter.reconcile(b"{}", &Limits::default()).unwrap().response, b"|");
    }
}

#[test]
fn an_endless_loop_is_stopped() {
    let limits = Limits { timeout: Duration::from_millis(30), ..Limits::default() };
    let started = Instant::now();
    let error = load(LARGE, "(loop $l (br $l)) unreachable").reconcile(b"{}", &limits).unwrap_err();
    assert!(matches!(error.fault, Fault::Timeout { .. }), "{error}");
    assert!(started.elapsed() >= limits.timeout);
}

#[test]
fn memory_is_capped() {
    let greedy = load(LARGE, "(loop $l (br_if $l (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) unreachable");
    let error = greedy.reconcile(b"{}", &Limits::default()).unwrap_err();
    assert!(matches!(error.fault, Fault::Memory { .. }), "{error}");
}

#[test]
fn a_module_on_demand_is_found_in_the_cache() {
    let parent = tempfile::tempdir().unwrap();
    let config = Config { cache_dir: Some(parent.path().join("modules")), concurrent_calls: 1, ..Config::default() };
    let wasm = module(&core(MANIFEST, LARGE, "(call $ok (local.get $ptr) (local.get $len))"));
    for from_cache in [false, true] {
        let echo = Runtime::new(config.clone()).unwrap().load(&wasm).unwrap();
        assert_eq!((echo.from_cache(), echo.is_pooled()), (from_cache, false));
        assert_eq!(echo.reconcile(b"{}", &Limits::default()).unwrap().response, b"{}");
    }
}
