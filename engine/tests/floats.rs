//! The engine keeps every digit of a float in a response.

use bartizan_engine::gate;
use rstest::rstest;

/// `serde_json` rounds some of these to a neighbour unless its feature `float_roundtrip` is on.
#[rstest]
#[case("99.99999999999999")]
#[case("100.00000000000001")]
#[case("31.245270191439438")]
#[case("5e-324")]
fn a_float_in_a_response_keeps_every_digit(#[case] digits: &str) {
    let object = format!(r#"{{"apiVersion":"example.dev/v1","kind":"Gizmo","spec":{{"ratio":{digits}}}}}"#);
    let response = format!(
        r#"{{"apiVersion":"provider.bartizan.dev/v1alpha1","kind":"ReconcileResponse",
            "children":[{{"object":{object}}}],"status":{{"ratio":{digits}}}}}"#
    );
    let read = gate::read(response.as_bytes()).unwrap();
    assert_eq!(read.children[0].object.to_string(), object);
    assert_eq!(read.status.unwrap().to_string(), format!(r#"{{"ratio":{digits}}}"#));
}
