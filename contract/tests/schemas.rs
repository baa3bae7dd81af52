//! The JSON schemas in `wit/` are what the types say.

use std::path::Path;

#[test]
fn the_schemas_in_wit_are_those_of_the_types() {
    let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../wit");
    for (name, schema) in bartizan_contract::schema::all() {
        let text = std::fs::read_to_string(wit.join(name)).unwrap_or_default();
        let expected = format!("{}\n", serde_json::to_string_pretty(&schema).unwrap());
        assert!(text == expected, "wit/{name} is stale: run `cargo xtask generate` and commit the result");
    }
}
