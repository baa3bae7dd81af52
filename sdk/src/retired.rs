//! Fields that an earlier published version of a kind had. They are honoured or refused by name, never ignored: whoever sets one means
//! something by it.

use crate::failure::Fault;

/// A field that an earlier version of a kind had, and that this one refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetiredField {
    /// Its path, with `[]` for any item of a list: `spec.storageAmount`, `spec.racks[].nodes`.
    pub path: &'static str,
    /// What became of it, and what to do: `has become spec.scope.volumeClaimTemplates`.
    pub instead: &'static str,
}

impl RetiredField {
    /// Whether a field is this one.
    pub(crate) fn is(&self, field: &str) -> bool {
        let mut parts = field.split('[');
        let start = parts.next();
        let after_an_index = parts.map(|part| part.split_once(']').map_or(part, |(_, rest)| rest));
        start.into_iter().chain(after_an_index).eq(self.path.split("[]"))
    }
}

/// The faults of retired fields among those that the spec type does not know.
pub(crate) fn faults(unknown: &[String], retired: &[RetiredField]) -> Vec<Fault> {
    let fault = |field: &String| {
        let retired = retired.iter().find(|retired| retired.is(field))?;
        Some(Fault::new(field.clone(), retired.instead))
    };
    unknown.iter().filter_map(fault).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_retired_field_is_found_by_its_path_whatever_the_index() {
        let retired = [RetiredField { path: "spec.racks[].nodes", instead: "has become members" }];
        let unknown = ["spec.racks[12].nodes".to_owned(), "spec.nodes".to_owned()];
        let faults: Vec<String> = faults(&unknown, &retired).iter().map(ToString::to_string).collect();
        assert_eq!(faults, ["spec.racks[12].nodes: has become members"]);
    }
}
