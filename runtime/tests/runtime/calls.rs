//! What a call may do, and the fault when it does more.

use std::time::{Duration, Instant};

use bartizan_contract::FailureCode;
use bartizan_runtime::{CallError, Config, Fault, Limits, LogLevel, Runtime};
use rstest::rstest;

use crate::modules::{LOGGED, MANIFEST, core, describing, module, provider};

const MIB: usize = 1024 * 1024;

fn limits() -> Limits {
    Limits { timeout: Duration::from_secs(30), ..Limits::default() }
}

fn fails(reconcile: &str, limits: &Limits) -> CallError {
    provider(reconcile).reconcile(b"{}", limits).unwrap_err()
}

#[test]
fn a_request_goes_in_and_a_response_comes_out_byte_for_byte() {
    let echo = provider("(call $ok (local.get $ptr) (local.get $len))");
    for request in [&b""[..], b"{}", b"\xff\0not json", &vec![b'x'; 3 * MIB]] {
        let answer = echo.reconcile(request, &limits()).unwrap();
        assert!(answer.response == request);
        assert_eq!(answer.logs, []);
    }
}

#[test]
fn each_call_has_an_instance_of_its_own() {
    // The module counts in its memory, and always answers with the manifest's first byte plus its count.
    let counter = provider(
        "(i32.store8 (i32.const 1024) (i32.add (i32.load8_u (i32.const 1024)) (i32.const 1)))
         (call $ok (i32.const 1024) (i32.const 1))",
    );
    for _ in 0..3 {
        assert_eq!(counter.reconcile(b"{}", &limits()).unwrap().response, b"|");
    }
}

#[test]
fn a_trap_has_its_cause_and_the_logs() {
    let error = fails("(call $log (i32.const 4) (i32.const 512) (i32.const 10)) unreachable", &limits());
    assert_eq!(
        error.to_string(),
        "the provider crashed (wasm `unreachable` instruction executed); this is a bug in the provider: report it \
         to its author; it last logged: the reason"
    );
    assert_eq!(error.fault.reason().as_str(), "ProviderCrashed");
    assert_eq!(error.logs.len(), 1);
    assert_eq!((error.logs[0].level, error.logs[0].message.as_str()), (LogLevel::Error, LOGGED));
    let Fault::Trap { backtrace, .. } = error.fault else { panic!("{:?}", error.fault) };
    assert!(backtrace.starts_with("decide at 0x"), "{backtrace}");
}

#[rstest]
#[case::division("(i32.div_s (i32.const 1) (i32.const 0))", "integer divide by zero")]
#[case::memory("(i32.load (i32.const 0x7fffffff))", "out of bounds memory access")]
#[case::log_out_of_bounds(
    "(call $log (i32.const 1) (i32.const 0x7fffffff) (i32.const 10)) (i32.const 0)",
    "string pointer/length out of bounds of memory"
)]
#[case::log_not_utf8(
    "(i32.store8 (i32.const 512) (i32.const 0xff)) (call $log (i32.const 1) (i32.const 512) (i32.const 1)) (i32.const 0)",
    "invalid utf-8 sequence of 1 bytes from index 0"
)]
fn every_other_crash_is_a_trap_too(#[case] reconcile: &str, #[case] cause: &str) {
    let error = fails(reconcile, &limits());
    let Fault::Trap { cause: found, .. } = &error.fault else { panic!("{:?}", error.fault) };
    assert_eq!(found, cause);
}

#[test]
fn endless_recursion_is_a_trap() {
    let error = fails("(call $deep)", &limits());
    let Fault::Trap { cause, .. } = &error.fault else { panic!("{:?}", error.fault) };
    assert_eq!(cause, "call stack exhausted");
}

#[test]
fn an_endless_loop_is_stopped() {
    let limits = Limits { timeout: Duration::from_millis(30), ..Limits::default() };
    let started = Instant::now();
    let error =
        fails("(call $log (i32.const 2) (i32.const 512) (i32.const 10)) (loop $l (br $l)) unreachable", &limits);
    assert!(started.elapsed() >= limits.timeout);
    assert_eq!(
        error.to_string(),
        "the provider did not answer within 30ms and was stopped; raise limits.timeout, or ask its author"
    );
    assert_eq!(error.fault.reason().as_str(), "ProviderTimedOut");
    assert_eq!(error.logs.len(), 1);
}

#[rstest]
#[case::at_once("(if (i32.eq (memory.grow (i32.const 65536)) (i32.const -1)) (then unreachable)) (i32.const 0)")]
#[case::bit_by_bit("(loop $l (br_if $l (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) unreachable")]
#[case::just_above("(if (i32.eq (memory.grow (i32.const 1023)) (i32.const -1)) (then unreachable)) (i32.const 0)")]
fn memory_above_the_limit_is_denied_and_reported(#[case] reconcile: &str) {
    let error = fails(reconcile, &limits());
    assert_eq!(
        error.to_string(),
        "the provider needs more than its 64Mi of memory and was stopped; raise limits.memory, or ask its author"
    );
    assert_eq!(error.fault.reason().as_str(), "ProviderOutOfMemory");
}

#[test]
fn memory_up_to_the_limit_is_granted() {
    let grows = provider(
        "(if (i32.eq (memory.grow (i32.const 1022)) (i32.const -1)) (then unreachable))
         (call $ok (i32.const 1024) (i32.const 1))",
    );
    assert_eq!(grows.reconcile(b"{}", &limits()).unwrap().response, b"{");
}

#[test]
fn a_guest_that_copes_with_the_denial_can_respond() {
    let modest = provider("(drop (memory.grow (i32.const 65000))) (call $ok (i32.const 1024) (i32.const 1))");
    assert_eq!(modest.reconcile(b"{}", &limits()).unwrap().response, b"{");
}

#[test]
fn an_initial_memory_above_the_limit_is_reported() {
    let limits = Limits { memory_bytes: 65536, ..limits() };
    assert_eq!(
        fails("unreachable", &limits).to_string(),
        "the provider needs more than its 65536 bytes of memory and was stopped; raise limits.memory, or ask its author"
    );
}

#[test]
fn a_request_above_the_limit_never_reaches_the_guest() {
    let error = provider("unreachable").reconcile(&vec![b' '; 8 * MIB + 1], &limits()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the request is larger than 8Mi: the parent has too many or too large objects; raise limits.requestBytes"
    );
    let Fault::RequestTooLarge { bytes, limit } = error.fault else { panic!("{:?}", error.fault) };
    assert_eq!((bytes, limit), (8 * MIB + 1, 8 * MIB));
}

#[test]
fn a_response_above_the_limit_is_not_copied() {
    let grow = "(drop (memory.grow (i32.const 1000)))";
    let at_the_cap = provider(&format!("{grow} (call $ok (i32.const 0) (i32.const {}))", 4 * MIB));
    assert_eq!(at_the_cap.reconcile(b"{}", &limits()).unwrap().response.len(), 4 * MIB);

    let error = fails(&format!("{grow} (call $ok (i32.const 0) (i32.const {}))", 4 * MIB + 1), &limits());
    assert_eq!(
        error.to_string(),
        "the provider's response is larger than 4Mi; raise limits.responseBytes, or ask its author"
    );
    assert_eq!(error.fault.reason().as_str(), "ResponseTooLarge");
}

#[rstest]
#[case::response_beyond_memory(
    "(call $ok (i32.const 0) (i32.const 0x7fffffff))",
    "list pointer/length out of bounds of memory"
)]
#[case::result_beyond_memory("(i32.const 0x7ffffff0)", "pointer out of bounds of memory")]
#[case::result_of_no_kind("(i32.store8 (i32.const 0) (i32.const 7)) (i32.const 0)", "invalid expected discriminant")]
fn an_answer_that_violates_the_interface_is_not_a_crash(#[case] reconcile: &str, #[case] cause: &str) {
    let error = fails(reconcile, &limits());
    let Fault::BadAnswer { cause: found } = &error.fault else { panic!("{:?}", error.fault) };
    assert_eq!(found, cause);
    assert_eq!(
        error.to_string(),
        format!(
            "the provider's response violates the binary interface ({cause}); this is a bug in the provider: report it to its author"
        )
    );
}

/// A body that fails with the code at 512 (`LOGGED` overwritten), the message at 520 and maybe more.
fn failure(code: &str, message: &str, more: &str) -> String {
    let store = |at: usize, text: &str| -> String {
        text.bytes().enumerate().map(|(i, b)| format!("(i32.store8 (i32.const {}) (i32.const {b}))", at + i)).collect()
    };
    format!(
        "{} {}
         (i32.store8 (i32.const 0) (i32.const 1))
         (i32.store (i32.const 4) (i32.const 512)) (i32.store (i32.const 8) (i32.const {}))
         (i32.store (i32.const 12) (i32.const 520)) (i32.store (i32.const 16) (i32.const {}))
         {more} (i32.const 0)",
        store(512, code),
        store(520, message),
        code.len(),
        message.len()
    )
}

#[test]
fn a_failure_keeps_the_message_of_the_guest() {
    let field = "(i32.store8 (i32.const 20) (i32.const 1)) (i32.store (i32.const 24) (i32.const 520)) (i32.store (i32.const 28) (i32.const 5))";
    let error = fails(&failure("invalid", "spec: no", field), &limits());
    assert_eq!(error.to_string(), "spec:: spec: no");
    assert_eq!(error.fault.reason().as_str(), "ProviderFailed");
    let Fault::Failure(failure) = error.fault else { panic!("{:?}", error.fault) };
    assert_eq!((failure.code, failure.retry_after_seconds), (FailureCode::Invalid, None));
}

#[test]
fn a_failure_may_say_when_to_try_again() {
    let retry = "(i32.store8 (i32.const 32) (i32.const 1)) (i32.store (i32.const 36) (i32.const 7))";
    let error = fails(&failure("retry", "later", retry), &limits());
    let Fault::Failure(failure) = error.fault else { panic!("{:?}", error.fault) };
    assert_eq!((failure.code, failure.message.as_str()), (FailureCode::Retry, "later"));
    assert_eq!((failure.field, failure.retry_after_seconds), (None, Some(7)));
}

#[test]
fn a_code_of_a_later_contract_is_kept() {
    let error = fails(&failure("quota", "full", ""), &limits());
    let Fault::Failure(failure) = error.fault else { panic!("{:?}", error.fault) };
    assert_eq!(failure.code, FailureCode::Other("quota".to_owned()));
}

#[test]
fn a_flood_of_logs_is_cut_off_and_reported() {
    let flood = provider(
        "(local $i i32)
         (loop $l
            (call $log (i32.const 2) (i32.const 512) (i32.const 10))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $l (i32.lt_u (local.get $i) (i32.const 1000))))
         (call $ok (i32.const 1024) (i32.const 1))",
    );
    let logs = flood.reconcile(b"{}", &limits()).unwrap().logs;
    assert_eq!(logs.len(), 257);
    assert_eq!(logs[255].message, LOGGED);
    assert_eq!(logs[256].level, LogLevel::Warn);
    assert_eq!(logs[256].message, "744 more lines were dropped: the provider logs too much");
}

#[test]
fn the_levels_are_those_of_the_contract() {
    for (number, level) in
        [LogLevel::Trace, LogLevel::Debug, LogLevel::Info, LogLevel::Warn, LogLevel::Error].into_iter().enumerate()
    {
        let logs = provider(&format!(
            "(call $log (i32.const {number}) (i32.const 512) (i32.const 10)) (call $ok (i32.const 1024) (i32.const 1))"
        ))
        .reconcile(b"{}", &limits())
        .unwrap()
        .logs;
        assert_eq!(logs[0].level, level);
    }
}

#[rstest]
#[case(
    "not json",
    "manifest: expected ident at line 1 column 2; build the provider with the SDK of provider.bartizan.dev/v1alpha1"
)]
#[case(&MANIFEST.replace("things.example", "thing.example"), "manifest.crds[0].metadata.name: is \"thing.example.com\", must be \"things.example.com\"")]
fn a_manifest_that_cannot_be_served_is_refused(#[case] manifest: &str, #[case] expected: &str) {
    let error = describing(manifest).describe(&limits()).unwrap_err();
    assert_eq!(error.to_string(), expected);
    assert_eq!(error.fault.reason().as_str(), "ManifestInvalid");
}

#[test]
fn concurrent_calls_are_isolated_from_each_other() {
    let echo = provider(
        "(call $log (i32.const 2) (local.get $ptr) (local.get $len)) (call $ok (local.get $ptr) (local.get $len))",
    );
    std::thread::scope(|scope| {
        for name in ["one", "two", "three", "four"] {
            let echo = echo.clone();
            scope.spawn(move || {
                for round in 0..200 {
                    let request = format!("{name} {round}");
                    let answer = echo.reconcile(request.as_bytes(), &limits()).unwrap();
                    assert_eq!(answer.response, request.as_bytes());
                    assert_eq!(answer.logs.len(), 1);
                    assert_eq!(answer.logs[0].message, request);
                }
            });
        }
    });
}

#[test]
fn a_call_in_a_loop_does_not_delay_another() {
    let looping = provider("(loop $l (br $l)) unreachable");
    let echo = provider("(call $ok (local.get $ptr) (local.get $len))");
    std::thread::scope(|scope| {
        let loops = scope.spawn(move || {
            looping.reconcile(b"{}", &Limits { timeout: Duration::from_millis(200), ..Limits::default() })
        });
        let mut answers = 0;
        while !loops.is_finished() {
            answers += usize::from(echo.reconcile(b"{}", &limits()).is_ok());
        }
        assert!(answers > 0);
        assert!(matches!(loops.join().unwrap().unwrap_err().fault, Fault::Timeout { .. }));
    });
}

#[test]
fn more_concurrent_calls_than_the_pool_has_are_busy() {
    let runtime = Runtime::new(Config { concurrent_calls: 1, ..Config::default() }).unwrap();
    let load = |reconcile| runtime.load(&module(&core(MANIFEST, "", reconcile))).unwrap();
    let looping = load("(loop $l (br $l)) unreachable");
    let echo = load("(call $ok (local.get $ptr) (local.get $len))");
    std::thread::scope(|scope| {
        let loops = scope.spawn(move || {
            looping.reconcile(b"{}", &Limits { timeout: Duration::from_millis(200), ..Limits::default() })
        });
        // Whichever comes second is refused.
        let mut faults = Vec::new();
        while !loops.is_finished() {
            faults.extend(echo.reconcile(b"{}", &limits()).err());
        }
        faults.extend(loops.join().unwrap().err());
        let busy = faults.iter().find(|error| matches!(error.fault, Fault::Busy)).unwrap();
        assert_eq!(busy.to_string(), "all instances of the pool are in use; try again");
    });
    assert!(echo.reconcile(b"{}", &limits()).is_ok());
}

#[test]
fn not_a_number_has_the_same_bits_everywhere() {
    // 0/0 with a sign that differs between processors, unless it is made canonical.
    let nan = provider(
        "(f32.store (i32.const 16) (f32.div (f32.const 0) (f32.const 0))) (call $ok (i32.const 16) (i32.const 4))",
    );
    assert_eq!(nan.reconcile(b"{}", &limits()).unwrap().response, [0, 0, 0xc0, 0x7f]);
}

/// Whether the thread of a call has the low priority after it.
#[cfg(target_os = "linux")]
fn is_lowered(threads: &bartizan_runtime::Threads, module: &bartizan_runtime::Module, request: &'static [u8]) -> bool {
    let (module, (lowered, is_lowered)) = (module.clone(), std::sync::mpsc::channel());
    let limits = Limits { timeout: Duration::from_secs(2), ..Limits::default() };
    let call = move || {
        let _ = module.reconcile(request, &limits);
        lowered.send(rustix::process::getpriority_process(None).unwrap() == 19).unwrap();
    };
    threads.run(call).unwrap();
    is_lowered.recv_timeout(Duration::from_secs(60)).unwrap()
}

#[cfg(target_os = "linux")]
#[test]
fn a_long_call_and_the_next_one_run_at_low_priority() {
    let threads = bartizan_runtime::Threads::new();
    let long_for_a_long_request = provider(
        "(if (i32.gt_u (local.get $len) (i32.const 2)) (then (loop $l (br $l))))
         (call $ok (i32.const 1024) (i32.const 1))",
    );
    let steps = [("{}", false), ("{  }", true), ("{}", true), ("{}", false)];
    for (number, (request, expected)) in steps.into_iter().enumerate() {
        assert_eq!(is_lowered(&threads, &long_for_a_long_request, request.as_bytes()), expected, "call {number}");
    }
}

#[test]
fn a_log_line_may_be_longer_than_a_small_response_and_is_cut_off() {
    let limits = Limits { response_bytes: 1024, ..limits() };
    let logs = "(drop (memory.grow (i32.const 16))) (call $log (i32.const 2) (i32.const 0) (i32.const 100000))";
    let answer = provider(&format!("{logs} (call $ok (i32.const 1024) (i32.const 1))")).reconcile(b"{}", &limits);
    assert_eq!(answer.unwrap().logs.len(), 1);
    let error = fails("(drop (memory.grow (i32.const 16))) (call $ok (i32.const 0) (i32.const 1025))", &limits);
    assert_eq!(error.fault.reason().as_str(), "ResponseTooLarge");
}

#[test]
fn a_log_line_that_is_far_too_long_is_not_copied_and_ends_the_call() {
    let line = 4 * MIB + 1;
    let logs =
        format!("(drop (memory.grow (i32.const 100))) (call $log (i32.const 2) (i32.const 0) (i32.const {line}))");
    let error = fails(&format!("{logs} (call $ok (i32.const 1024) (i32.const 1))"), &limits());
    let Fault::Trap { cause, .. } = &error.fault else { panic!("{:?}", error.fault) };
    assert_eq!(cause, "it logs or prints more than 4Mi at once");
}
