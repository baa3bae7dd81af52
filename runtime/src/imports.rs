//! The boundary of the sandbox: what a module may import and must export, by name. Anything else is refused when the module is
//! loaded, not when it is called.

use bartizan_contract::names::{LOG_INTERFACE, PROVIDER_INTERFACE};
use wasmtime::StoreContextMut;
use wasmtime::component::types::{ComponentFunc, ComponentItem, Type};
use wasmtime::component::{Component, ComponentExportIndex, Linker, WasmStr};

use crate::errors::LoadError;
use crate::logs::LogLevel;
use crate::store::CallState;
use crate::wasi;

/// `LOG_INTERFACE` as a core module names it, in both manglings.
pub(crate) fn is_core_log(module: &str) -> bool {
    module == LOG_INTERFACE || module == "cm32p2|bartizan:provider/log@0.1"
}

/// The exported functions, looked up once per module.
#[derive(Clone, Debug)]
pub(crate) struct Exports {
    pub(crate) describe: ComponentExportIndex,
    pub(crate) reconcile: ComponentExportIndex,
}

/// Defines everything that the component imports; the error names the first import that is not allowed.
pub(crate) fn link(component: &Component) -> Result<Linker<CallState>, LoadError> {
    let engine = component.engine();
    let mut linker = Linker::new(engine);
    let ty = component.component_type();
    for (name, import) in ty.imports(engine) {
        let defined = match import.ty {
            ComponentItem::ComponentInstance(_) if name == LOG_INTERFACE => {
                linker.instance(LOG_INTERFACE).and_then(|mut log| log.func_wrap("write", write_log))
            }
            ComponentItem::ComponentInstance(instance) if wasi::is_known(name) => {
                wasi::define(engine, &mut linker, name, &instance)
            }
            _ => return Err(LoadError::Import { import: name.to_owned() }),
        };
        defined.map_err(|error| LoadError::Compile { cause: format!("{error:#}") })?;
    }
    Ok(linker)
}

fn write_log(mut store: StoreContextMut<'_, CallState>, (level, message): (LogLevel, WasmStr)) -> wasmtime::Result<()> {
    let line = {
        let message = message.to_str(&store)?;
        store.data().logs.line(level, &message)
    };
    let logs = &mut store.data_mut().logs;
    match line {
        Some(line) => logs.push(line),
        None => logs.drop_line(),
    }
    Ok(())
}

/// Finds the contract's functions and checks their types.
pub(crate) fn exports(component: &Component) -> Result<Exports, LoadError> {
    let missing = |export: String| LoadError::MissingExport { export };
    let interface =
        component.get_export_index(None, PROVIDER_INTERFACE).ok_or_else(|| missing(PROVIDER_INTERFACE.to_owned()))?;
    let function = |name: &str, fits: fn(&ComponentFunc) -> bool| {
        let export = format!("{PROVIDER_INTERFACE}#{name}");
        match component.get_export(Some(&interface), name) {
            Some((ComponentItem::ComponentFunc(ty), index)) if fits(&ty) => Ok(index),
            Some(_) => Err(LoadError::WrongExport { export }),
            None => Err(missing(export)),
        }
    };
    Ok(Exports { describe: function("describe", is_describe)?, reconcile: function("reconcile", is_reconcile)? })
}

fn is_describe(ty: &ComponentFunc) -> bool {
    ty.params().len() == 0 && ty.results().len() == 1 && ty.results().all(|result| is_bytes(&result))
}

fn is_reconcile(ty: &ComponentFunc) -> bool {
    let takes_bytes = ty.params().len() == 1 && ty.params().all(|(_, ty)| is_bytes(&ty));
    let answers = |result: Type| match result {
        Type::Result(result) => {
            result.ok().is_some_and(|ok| is_bytes(&ok)) && result.err().is_some_and(|err| is_failure(&err))
        }
        _ => false,
    };
    takes_bytes && ty.results().len() == 1 && ty.results().all(answers)
}

fn is_bytes(ty: &Type) -> bool {
    matches!(ty, Type::List(list) if matches!(list.ty(), Type::U8))
}

fn is_failure(ty: &Type) -> bool {
    let Type::Record(record) = ty else { return false };
    let optional = |ty: &Type, inner: fn(&Type) -> bool| matches!(ty, Type::Option(option) if inner(&option.ty()));
    let is_string = |ty: &Type| matches!(ty, Type::String);
    let fits: Vec<bool> = record
        .fields()
        .map(|field| match field.name {
            "code" | "message" => is_string(&field.ty),
            "field" => optional(&field.ty, |ty| matches!(ty, Type::String)),
            "retry-after-seconds" => optional(&field.ty, |ty| matches!(ty, Type::U32)),
            _ => false,
        })
        .collect();
    fits == [true; 4]
}
