//! The MinIO provider: ObjectStore.
