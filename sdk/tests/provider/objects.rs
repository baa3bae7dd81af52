//! The macro `object!` writes commas correctly, whichever values are literals and whichever are null.

use bartizan_sdk::json::{WriteJson, extended, to_text};
use bartizan_sdk::object;
use serde_json::{Map, Value};

const KEY: &str = "key";

fn text(object: &impl WriteJson) -> String {
    String::from_utf8(to_text(object).unwrap()).unwrap()
}

/// The fields that are present.
fn fields(fields: &[(&str, Option<i32>)]) -> String {
    let given = fields.iter().filter_map(|(key, value)| Some(((*key).to_owned(), Value::from((*value)?))));
    Value::Object(given.collect::<Map<_, _>>()).to_string()
}

/// The items that are present.
fn items(items: &[Option<i32>]) -> String {
    Value::from(items.iter().flatten().copied().collect::<Vec<i32>>()).to_string()
}

#[test]
fn what_is_null_is_left_out_with_its_comma_wherever_it_stands() {
    let both = [None, Some(1)];
    for (a, b, c) in both.into_iter().flat_map(|a| both.into_iter().flat_map(move |b| both.map(|c| (a, b, c)))) {
        assert_eq!(text(&object!({"a": a, "b": b, "c": c})), fields(&[("a", a), ("b", b), ("c", c)]));
        assert_eq!(text(&object!({"a": 1, "b": b, "c": c,})), fields(&[("a", Some(1)), ("b", b), ("c", c)]));
        assert_eq!(text(&object!({"a": a, "b": 1, "c": c})), fields(&[("a", a), ("b", Some(1)), ("c", c)]));
        assert_eq!(text(&object!({"a": a, "b": b, "c": 1})), fields(&[("a", a), ("b", b), ("c", Some(1))]));
        assert_eq!(text(&object!({"a": a, KEY: b, "z": c})), fields(&[("a", a), (KEY, b), ("z", c)]));
        assert_eq!(text(&object!({KEY: a, "z": 1})), fields(&[(KEY, a), ("z", Some(1))]));
        assert_eq!(text(&object!([a, b, c])), items(&[a, b, c]));
        assert_eq!(text(&object!([1, b, c,])), items(&[Some(1), b, c]));
        assert_eq!(text(&object!([a, 1, c])), items(&[a, Some(1), c]));
        assert_eq!(text(&object!([a, b, 1])), items(&[a, b, Some(1)]));
        let nested = object!({"a": a, "b": {"a": a, "b": b}, "c": [a, {"c": c}, b], KEY: {"a": a}, "z": c});
        let list = [a.map(|a| a.to_string()), Some(fields(&[("c", c)])), b.map(|b| b.to_string())];
        let expected = [
            a.map(|a| format!("\"a\":{a}")),
            Some(format!("\"b\":{}", fields(&[("a", a), ("b", b)]))),
            Some(format!("\"c\":[{}]", list.into_iter().flatten().collect::<Vec<_>>().join(","))),
            Some(format!("\"key\":{}", fields(&[("a", a)]))),
            c.map(|c| format!("\"z\":{c}")),
        ];
        assert_eq!(text(&nested), format!("{{{}}}", expected.into_iter().flatten().collect::<Vec<_>>().join(",")));
        let more = object!({"b": b, "c": c});
        assert_eq!(text(&extended(fields(&[("a", a)]).as_bytes(), more)), fields(&[("a", a), ("b", b), ("c", c)]));
    }
    assert_eq!(text(&object!({"a": {}, "b": [], "c": [{}, {},]})), r#"{"a":{},"b":[],"c":[{},{}]}"#);
    assert_eq!((text(&object!({})), text(&object!([]))), ("{}".to_owned(), "[]".to_owned()));
}
