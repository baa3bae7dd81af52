//! The types that storage providers share.

use bartizan_sdk::storage::{
    Annotations, Credentials, CredentialsSource, ResourceSpec, annotation_faults, merge_annotations,
};
use rstest::rstest;

fn credentials(access_key: &str, secret_key: &str, name: &str, namespace: &str) -> Credentials {
    let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    Credentials {
        access_key: given(access_key),
        secret_key: given(secret_key),
        name: given(name),
        namespace: given(namespace),
    }
}

#[rstest]
#[case(credentials("me", "secret", "", ""), CredentialsSource::Inline { access_key: "me", secret_key: "secret" })]
#[case(credentials("", "", "keys", ""), CredentialsSource::Secret("keys"))]
#[case(credentials("", "", "keys", "here"), CredentialsSource::Secret("keys"))]
#[case(credentials("", "", "", ""), CredentialsSource::Generated)]
fn credentials_come_from_one_place(#[case] credentials: Credentials, #[case] expected: CredentialsSource<'_>) {
    assert_eq!(credentials.source("spec.credentials", "here"), Ok(expected));
}

#[rstest]
#[case(credentials("me", "", "", ""), "c.secretKey: is required when accessKey is set")]
#[case(credentials("", "secret", "", ""), "c.accessKey: is required when secretKey is set")]
#[case(credentials("me", "", "keys", ""), "c: must be inline keys or the name of a Secret, not both")]
#[case(credentials("", "", "", "here"), "c.name: is required when namespace is set")]
#[case(
    credentials("", "", "keys", "there"),
    "c.namespace: must be \"here\", the namespace of the pods that use the Secret, but is \"there\""
)]
fn other_credentials_name_the_field_at_fault(#[case] credentials: Credentials, #[case] message: &str) {
    assert_eq!(credentials.source("c", "here").unwrap_err().to_string(), message);
}

#[test]
fn annotations_that_an_object_has_are_kept() {
    let map = |pairs: &[(&str, &str)]| -> Annotations {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    };
    let merged = merge_annotations(map(&[("a", "ours")]), &map(&[("a", "theirs"), ("b", "theirs")]));
    assert_eq!(merged, map(&[("a", "ours"), ("b", "theirs")]));
}

#[test]
fn annotations_of_the_host_are_refused_with_their_field() {
    let annotations: Annotations =
        [("bartizan.dev/x".to_owned(), String::new()), ("x".to_owned(), String::new())].into();
    let faults: Vec<String> = annotation_faults(&annotations, "spec.a").iter().map(ToString::to_string).collect();
    assert_eq!(faults, ["spec.a[bartizan.dev/x]: is reserved: keys with the prefix bartizan.dev/ belong to the host"]);
}

#[rstest]
#[case::nothing("[]")]
#[case::list(r#"[{"name":"a","limits":{"cpu":"1"},"requests":{},"network":null}]"#)]
#[case::map(r#"{"limits":{"memory":"2Gi"},"requests":{},"a":{"requests":{"cpu":"1"}}}"#)]
fn resources_are_written_in_the_shape_in_which_they_were_read(#[case] text: &str) {
    let resources: ResourceSpec = serde_json::from_str(text).unwrap();
    assert_eq!(serde_json::to_string(&resources).unwrap(), text);
}

#[test]
fn an_amount_is_what_is_promised_or_else_the_limit_in_whole_units() {
    let text = r#"{"requests": {"memory": "1Gi"}, "limits": {"memory": "2Gi", "cpu": "1500m"}}"#;
    let resources: ResourceSpec = serde_json::from_str(text).unwrap();
    let one = resources.of("a").unwrap();
    assert_eq!([one.amount("memory"), one.amount("cpu"), one.amount("disk")], [Some(1 << 30), Some(2), None]);
}
