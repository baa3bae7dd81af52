//! The manifest that the module embeds is generated from its types.

use std::path::Path;

use minio::MinIo;

#[test]
fn the_manifest_in_the_module_is_up_to_date() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifest.json");
    if let Err(out_of_date) = bartizan_sdk::testing::check_manifest::<MinIo>(&file) {
        panic!("{out_of_date}");
    }
}
