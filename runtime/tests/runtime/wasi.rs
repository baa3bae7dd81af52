//! Components from other languages: they run in an empty world, the same in every call.

use bartizan_runtime::{Fault, Limits, LogLevel, Module};

use crate::modules::runtime;

/// A component that imports some WASI and answers a call with what `body` makes of it. The body has `$ptr` and `$len`;
/// it leaves pointer and length of the response.
fn component(body: &str) -> Module {
    let text = format!(
        r#"(component
            (import "wasi:random/random@0.2.3" (instance $random
                (export "get-random-u64" (func (result u64)))
                (export "get-random-bytes" (func (param "len" u64) (result (list u8))))))
            (import "wasi:clocks/wall-clock@0.2.3" (instance $clock
                (type $record (record (field "seconds" u64) (field "nanoseconds" u32)))
                (export "datetime" (type $datetime (eq $record)))
                (export "now" (func (result $datetime)))))
            (import "wasi:cli/environment@0.2.3" (instance $environment
                (export "get-arguments" (func (result (list string))))
                (export "initial-cwd" (func (result (option string))))))
            (import "wasi:cli/exit@0.2.3" (instance $exit
                (export "exit" (func (param "status" (result))))))
            (import "wasi:io/streams@0.2.3" (instance $streams
                (export "output-stream" (type $output (sub resource)))
                (export "[method]output-stream.blocking-write-and-flush"
                    (func (param "self" (borrow $output)) (param "contents" (list u8)) (result (result))))))
            (alias export $streams "output-stream" (type $output))
            (import "wasi:cli/stderr@0.2.3" (instance $stderr
                (alias outer 1 $output (type $outer))
                (export "output-stream" (type $output (eq $outer)))
                (export "get-stderr" (func (result (own $output))))))

            (core module $libc
                (memory (export "memory") 2)
                (global $heap (mut i32) (i32.const 65536))
                (func (export "realloc") (param i32 i32 i32) (param $size i32) (result i32)
                    (global.set $heap (i32.and (i32.add (global.get $heap) (i32.const 7)) (i32.const -8)))
                    global.get $heap
                    (global.set $heap (i32.add (global.get $heap) (local.get $size)))))
            (core instance $libc (instantiate $libc))
            (alias core export $libc "memory" (core memory $memory))
            (alias core export $libc "realloc" (core func $realloc))
            (core func $u64 (canon lower (func $random "get-random-u64")))
            (core func $bytes (canon lower (func $random "get-random-bytes") (memory $memory) (realloc $realloc)))
            (core func $now (canon lower (func $clock "now") (memory $memory)))
            (core func $args (canon lower (func $environment "get-arguments") (memory $memory) (realloc $realloc)))
            (core func $exit (canon lower (func $exit "exit")))
            (core func $stderr (canon lower (func $stderr "get-stderr")))
            (core func $write
                (canon lower (func $streams "[method]output-stream.blocking-write-and-flush") (memory $memory)))

            (core module $main
                (import "libc" "memory" (memory 2))
                (import "wasi" "u64" (func $u64 (result i64)))
                (import "wasi" "bytes" (func $bytes (param i64 i32)))
                (import "wasi" "now" (func $now (param i32)))
                (import "wasi" "args" (func $args (param i32)))
                (import "wasi" "exit" (func $exit (param i32)))
                (import "wasi" "stderr" (func $stderr (result i32)))
                (import "wasi" "write" (func $write (param i32 i32 i32) (result i32)))
                (func (export "describe") (result i32) unreachable)
                (func (export "reconcile") (param $ptr i32) (param $len i32) (result i32)
                    (local $at i32) (local $length i32)
                    {body}
                    local.set $length
                    local.set $at
                    (i32.store8 (i32.const 0) (i32.const 0))
                    (i32.store (i32.const 4) (local.get $at))
                    (i32.store (i32.const 8) (local.get $length))
                    i32.const 0))
            (core instance $main (instantiate $main
                (with "libc" (instance $libc))
                (with "wasi" (instance
                    (export "u64" (func $u64)) (export "bytes" (func $bytes)) (export "now" (func $now))
                    (export "args" (func $args)) (export "exit" (func $exit)) (export "stderr" (func $stderr))
                    (export "write" (func $write))))))

            (func $describe (result (list u8)) (canon lift (core func $main "describe") (memory $memory)))
            (type $failure-record (record (field "code" string) (field "message" string)
                (field "field" (option string)) (field "retry-after-seconds" (option u32))))
            (component $provider
                (import "failure" (type $failure (eq $failure-record)))
                (import "describe" (func $describe (result (list u8))))
                (import "reconcile" (func $reconcile (param "request" (list u8)) (result (result (list u8) (error $failure)))))
                (export $exported "failure" (type $failure))
                (export "describe" (func $describe))
                (export "reconcile" (func $reconcile)
                    (func (param "request" (list u8)) (result (result (list u8) (error $exported))))))
            (func $reconcile (param "request" (list u8)) (result (result (list u8) (error $failure-record)))
                (canon lift (core func $main "reconcile") (memory $memory) (realloc $realloc)))
            (instance $provider (instantiate $provider
                (with "failure" (type $failure-record))
                (with "describe" (func $describe))
                (with "reconcile" (func $reconcile))))
            (export "bartizan:provider/provider@0.1.0" (instance $provider)))"#
    );
    runtime().load(&wat::parse_str(text).unwrap()).unwrap()
}

#[test]
fn randomness_is_the_same_in_every_call() {
    let draws = component(
        "(i64.store (i32.const 64) (call $u64)) (i64.store (i32.const 72) (call $u64)) (i32.const 64) (i32.const 16)",
    );
    let first = draws.reconcile(b"{}", &Limits::default()).unwrap().response;
    assert_ne!(first[..8], first[8..]);
    assert_eq!(draws.reconcile(b"{}", &Limits::default()).unwrap().response, first);
}

#[test]
fn random_bytes_are_provided_within_a_limit() {
    let bytes = |count: u64| {
        component(&format!(
            "(call $bytes (i64.const {count}) (i32.const 64)) (i32.load (i32.const 64)) (i32.load (i32.const 68))"
        ))
    };
    assert_eq!(bytes(32).reconcile(b"{}", &Limits::default()).unwrap().response.len(), 32);
    let error = bytes(1 << 40).reconcile(b"{}", &Limits::default()).unwrap_err();
    let Fault::Trap { cause, .. } = error.fault else { panic!("{:?}", error.fault) };
    assert_eq!(cause, "it asked for 1099511627776 random bytes at once");
}

#[test]
fn the_clock_stands_still_and_the_environment_is_empty() {
    let looks = component(
        "(i64.store (i32.const 64) (i64.const -1)) (call $now (i32.const 64))
         (i32.store (i32.const 84) (i32.const -1)) (call $args (i32.const 80))
         (i32.const 64) (i32.const 24)",
    );
    let response = looks.reconcile(b"{}", &Limits::default()).unwrap().response;
    assert_eq!(response[..12], [0; 12]);
    assert_eq!(response[20..], [0; 4]);
}

#[test]
fn standard_error_is_the_providers_log() {
    let writes =
        component("(drop (call $write (call $stderr) (local.get $ptr) (local.get $len))) (i32.const 0) (i32.const 0)");
    let logs = writes.reconcile(b"first\n\nsecond\n", &Limits::default()).unwrap().logs;
    let lines: Vec<_> = logs.iter().map(|line| (line.level, line.message.as_str())).collect();
    assert_eq!(lines, [(LogLevel::Error, "first"), (LogLevel::Error, "second")]);
}

#[test]
fn an_exit_ends_the_call_alone() {
    let error = component("(call $exit (i32.const 1)) (i32.const 0) (i32.const 0)")
        .reconcile(b"{}", &Limits::default())
        .unwrap_err();
    let Fault::Trap { cause, .. } = error.fault else { panic!("{:?}", error.fault) };
    assert_eq!(cause, "it ended itself with wasi:cli/exit");
}
