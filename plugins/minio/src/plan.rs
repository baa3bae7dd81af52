//! What a store needs: a spec that has passed validation.

use bartizan_sdk::storage::CredentialsSource;

use crate::layout::Layout;
use crate::spec::ObjectStoreSpec;

/// The only component that resources and network can be given for, under the name that Rook's MinIO operator used.
pub(crate) const COMPONENT: &str = "objectserver";
/// The only port that can be set.
pub(crate) const PORT_NAME: &str = "api";
/// The variable from which MinIO reads its administrator's user name.
pub(crate) const ACCESS_KEY_VARIABLE: &str = "MINIO_ROOT_USER";
/// The variable from which MinIO reads its administrator's password.
pub(crate) const SECRET_KEY_VARIABLE: &str = "MINIO_ROOT_PASSWORD";

/// A valid spec, with defaults filled in.
pub(crate) struct Plan<'a> {
    pub(crate) spec: &'a ObjectStoreSpec,
    pub(crate) layout: Layout,
    pub(crate) credentials: CredentialsSource<'a>,
    pub(crate) host_network: bool,
}
