//! WASI 0.2 for components from other languages: an empty world. Their runtimes import it whether they use it or not.
//!
//! This is not `wasmtime-wasi` with everything disabled, for three reasons. Its clocks can sleep: a guest in
//! `poll` would hold a thread past its deadline, since the epoch stops guests and not the host. It brings an async
//! runtime and a file system into the process that holds the cluster's credentials. And nothing here may depend on the
//! machine: the same request gives the same response.
//!
//! So each imported function returns a default for its result type: an empty list, no value, zero, or the first error of the
//! type. The exceptions are in [`answer`]: random numbers from a fixed seed, standard output and error that go to the
//! provider's log, and values that a guest needs to continue at all.

use wasmtime::component::types::{ComponentInstance, ComponentItem, Type};
use wasmtime::component::{Linker, ResourceDynamic, ResourceType, Val};
use wasmtime::{Engine, Result, StoreContextMut, bail};

use crate::logs::LogLevel;
use crate::store::CallState;

/// The packages that are provided. `wasi:http` is not: a provider has no network.
const PACKAGES: [&str; 6] = ["cli", "clocks", "filesystem", "io", "random", "sockets"];
/// One host type represents all resources of WASI, since none of them has state.
const RESOURCE: u32 = 0;
/// Representation of the handles of standard output and standard error; all other handles have 0.
const STDOUT: u32 = 1;
const STDERR: u32 = 2;
/// What a guest may write to a stream at once.
const STREAM_BYTES: u64 = 4096;
/// Most random bytes in one call, so that a guest cannot exhaust the host's memory.
const RANDOM_BYTES: u64 = 64 * 1024;

/// Whether an import such as `wasi:io/streams@0.2.3` is provided.
pub(crate) fn is_known(import: &str) -> bool {
    let package = import.strip_prefix("wasi:").and_then(|rest| rest.split_once('/'));
    package.is_some_and(|(package, rest)| {
        PACKAGES.contains(&package) && rest.split_once('@').is_some_and(|(_, version)| version.starts_with("0.2."))
    })
}

/// Defines what the component imports of one interface.
pub(crate) fn define(
    engine: &Engine,
    linker: &mut Linker<CallState>,
    import: &str,
    interface: &ComponentInstance,
) -> Result<()> {
    let mut instance = linker.instance(import)?;
    for (name, export) in interface.exports(engine) {
        match export.ty {
            ComponentItem::Resource(_) => {
                instance.resource(name, ResourceType::host_dynamic(RESOURCE), |_, _| Ok(()))?;
            }
            ComponentItem::ComponentFunc(_) => {
                let function = name.to_owned();
                instance.func_new(name, move |store, ty, params, results| {
                    let ty = ty.results().next();
                    match (ty, results) {
                        (Some(ty), [result]) => *result = answer(store, &function, params, &ty)?,
                        _ => {
                            answer(store, &function, params, &Type::Bool)?;
                        }
                    }
                    Ok(())
                })?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// The result of one call, of the type `ty`.
fn answer(mut store: StoreContextMut<'_, CallState>, function: &str, params: &[Val], ty: &Type) -> Result<Val> {
    let mut handles = Vec::new();
    for param in params {
        release(&mut store, param, &mut handles)?;
    }
    let method = function.rsplit('.').next().unwrap_or(function);
    Ok(match (method, params) {
        ("get-stdout", []) => handle(&mut store, STDOUT)?,
        ("get-stderr", []) => handle(&mut store, STDERR)?,
        ("exit" | "exit-with-code", _) => bail!("it ended itself with wasi:cli/exit"),
        ("get-random-bytes" | "get-insecure-random-bytes", [Val::U64(length)]) => {
            if *length > RANDOM_BYTES {
                bail!("it asked for {length} random bytes at once");
            }
            Val::List((0..*length).map(|_| Val::U8(random(&mut store).to_le_bytes()[0])).collect())
        }
        ("get-random-u64" | "get-insecure-random-u64", []) => Val::U64(random(&mut store)),
        // Everything is ready at once: `poll` returns all indices.
        ("poll", [Val::List(pollables)]) => Val::List((0_u32..).take(pollables.len()).map(Val::U32).collect()),
        ("ready", [Val::Resource(_)]) => Val::Bool(true),
        ("resolution", []) => Val::U64(1),
        ("check-write", [Val::Resource(_)]) => ok(Some(Val::U64(STREAM_BYTES))),
        ("flush" | "blocking-flush" | "write-zeroes" | "blocking-write-zeroes-and-flush", [Val::Resource(_), ..]) => {
            ok(None)
        }
        ("write" | "blocking-write-and-flush", [Val::Resource(_), Val::List(bytes)]) => {
            log(&mut store, handles.first().copied(), bytes);
            ok(None)
        }
        // The end of standard input; an error would need a handle to say which.
        (
            "read" | "blocking-read" | "skip" | "blocking-skip" | "splice" | "blocking-splice",
            [Val::Resource(_), ..],
        ) => Val::Result(Err(Some(Box::new(Val::Variant("closed".to_owned(), None))))),
        _ => empty(&mut store, ty)?,
    })
}

/// Releases the handles among a call's parameters, as every call must, and collects their representations.
fn release(store: &mut StoreContextMut<'_, CallState>, value: &Val, handles: &mut Vec<u32>) -> Result<()> {
    match value {
        Val::Resource(resource) => {
            handles.push(ResourceDynamic::try_from_resource_any(*resource, &mut *store)?.rep());
        }
        Val::List(values) | Val::Tuple(values) => {
            for value in values {
                release(store, value, handles)?;
            }
        }
        Val::Option(Some(value)) => release(store, value, handles)?,
        _ => {}
    }
    Ok(())
}

/// The default value of a type.
fn empty(store: &mut StoreContextMut<'_, CallState>, ty: &Type) -> Result<Val> {
    Ok(match ty {
        Type::Bool => Val::Bool(false),
        Type::S8 => Val::S8(0),
        Type::U8 => Val::U8(0),
        Type::S16 => Val::S16(0),
        Type::U16 => Val::U16(0),
        Type::S32 => Val::S32(0),
        Type::U32 => Val::U32(0),
        Type::S64 => Val::S64(0),
        Type::U64 => Val::U64(0),
        Type::Float32 => Val::Float32(0.0),
        Type::Float64 => Val::Float64(0.0),
        Type::Char => Val::Char('\0'),
        Type::String => Val::String(String::new()),
        Type::List(_) => Val::List(Vec::new()),
        Type::Option(_) => Val::Option(None),
        Type::Flags(_) => Val::Flags(Vec::new()),
        Type::Own(_) => handle(store, 0)?,
        Type::Tuple(tuple) => Val::Tuple(tuple.types().map(|ty| empty(store, &ty)).collect::<Result<_>>()?),
        Type::Record(record) => {
            let field = |field: wasmtime::component::types::Field<'_>| {
                Ok((field.name.to_owned(), empty(&mut *store, &field.ty)?))
            };
            Val::Record(record.fields().map(field).collect::<Result<_>>()?)
        }
        Type::Enum(names) => match names.names().next() {
            Some(name) => Val::Enum(name.to_owned()),
            None => bail!("a WASI function of an unknown type"),
        },
        Type::Variant(variant) => match variant.cases().next() {
            Some(case) => {
                let value = case.ty.map(|ty| empty(store, &ty)).transpose()?;
                Val::Variant(case.name.to_owned(), value.map(Box::new))
            }
            None => bail!("a WASI function of an unknown type"),
        },
        Type::Result(result) => {
            let error = result.err().map(|ty| empty(store, &ty)).transpose()?;
            Val::Result(Err(error.map(Box::new)))
        }
        _ => bail!("a WASI function of an unknown type"),
    })
}

fn ok(value: Option<Val>) -> Val {
    Val::Result(Ok(value.map(Box::new)))
}

fn handle(store: &mut StoreContextMut<'_, CallState>, number: u32) -> Result<Val> {
    ResourceDynamic::new_own(number, RESOURCE).try_into_resource_any(&mut *store).map(Val::Resource)
}

/// Logs what a guest writes to its standard streams, where most languages write panic messages.
fn log(store: &mut StoreContextMut<'_, CallState>, stream: Option<u32>, bytes: &[Val]) {
    let bytes: Vec<u8> = bytes.iter().map(|byte| if let Val::U8(byte) = byte { *byte } else { b'?' }).collect();
    let level = if stream == Some(STDERR) { LogLevel::Error } else { LogLevel::Info };
    let text = String::from_utf8_lossy(&bytes);
    let logs = &mut store.data_mut().logs;
    for text in text.split('\n').filter(|text| !text.trim().is_empty()) {
        match logs.line(level, text) {
            Some(line) => logs.push(line),
            None => logs.drop_line(),
        }
    }
}

/// SplitMix64 from a fixed seed: the same call gets the same numbers. Providers need no secrets of their own; the host
/// generates those.
fn random(store: &mut StoreContextMut<'_, CallState>) -> u64 {
    let state = &mut store.data_mut().wasi;
    state.random = state.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = state.random;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
