//! Names of Kubernetes objects as people write them.

/// Parses a name of any Kubernetes object. None of its characters has a meaning in a URL.
///
/// # Errors
/// If it holds any other character.
pub(crate) fn object_name(text: &str) -> Result<String, String> {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte);
    if !text.is_empty() && text.bytes().all(is_part) {
        Ok(text.to_owned())
    } else {
        Err("is not the name of a Kubernetes object".to_owned())
    }
}

/// A ServiceAccount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    /// Its namespace.
    pub(crate) namespace: String,
    /// Its name.
    pub(crate) name: String,
}

/// Parses a ServiceAccount.
///
/// # Errors
/// If it is not written as namespace/name.
pub(crate) fn account(text: &str) -> Result<Account, String> {
    let parts = text.split_once('/').map(|(namespace, name)| (object_name(namespace), object_name(name)));
    match parts {
        Some((Ok(namespace), Ok(name))) => Ok(Account { namespace, name }),
        _ => Err("write it as namespace/name".to_owned()),
    }
}
