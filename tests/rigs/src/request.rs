//! A summary of a request to the API server: enough to decide what to do with it.

use std::fmt;

use http::{Method, Uri};

/// The class of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// A watch.
    Watch,
    /// A list.
    List,
    /// A read of one object.
    Get,
    /// A write.
    Write,
    /// A request that is not about objects, such as discovery or the version.
    Other,
}

/// A summary of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The HTTP method.
    pub method: Method,
    /// Without the query.
    pub path: String,
    /// Without the question mark; empty if there is none.
    pub query: String,
    /// The class.
    pub class: Class,
    /// The namespace, if there is one.
    pub namespace: Option<String>,
    /// The plural, with the subresource: `statefulsets/status`. Empty if it is not about objects.
    pub resource: String,
    /// The object's name; empty for lists and watches.
    pub name: String,
}

impl Summary {
    /// Parses the request line.
    #[must_use]
    pub fn new(method: &Method, uri: &Uri) -> Self {
        let (path, query) = (uri.path().to_owned(), uri.query().unwrap_or_default().to_owned());
        let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
        let below_version = match segments.as_slice() {
            ["api", _, rest @ ..] | ["apis", _, _, rest @ ..] => rest,
            _ => &[],
        };
        let (namespace, object) = match below_version {
            // Two segments are the namespace object itself.
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (Some((*namespace).to_owned()), rest),
            rest => (None, rest),
        };
        let (resource, name) = match object {
            [] => (String::new(), String::new()),
            [plural] => ((*plural).to_owned(), String::new()),
            [plural, name] => ((*plural).to_owned(), (*name).to_owned()),
            [plural, name, sub @ ..] => (format!("{plural}/{}", sub.join("/")), (*name).to_owned()),
        };
        let watches = query.split('&').any(|pair| matches!(pair, "watch=true" | "watch=1" | "watch="));
        let class = match *method {
            Method::GET if resource.is_empty() => Class::Other,
            Method::GET if watches => Class::Watch,
            Method::GET if name.is_empty() => Class::List,
            Method::GET => Class::Get,
            // An access review has the form of a create.
            _ if path.starts_with("/apis/authorization.k8s.io/") => Class::Other,
            _ => Class::Write,
        };
        Self { method: method.clone(), path, query, class, namespace, resource, name }
    }

    /// The part that is the same when the same request is made again: without versions, timeouts and continue tokens.
    #[must_use]
    pub fn identity(&self) -> String {
        let selector = self.query.split('&').find(|pair| pair.starts_with("labelSelector=")).unwrap_or_default();
        format!("{} {:?} {} {selector}", self.method, self.class, self.path)
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}", self.method, if self.resource.is_empty() { &self.path } else { &self.resource })?;
        if self.name.is_empty() { Ok(()) } else { write!(out, " {}", self.name) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(method: Method, uri: &'static str) -> Summary {
        Summary::new(&method, &Uri::from_static(uri))
    }

    #[test]
    fn a_request_is_classified_by_its_first_line() {
        let status = summary(Method::PATCH, "/apis/apps/v1/namespaces/a/statefulsets/s/status?force=true");
        assert_eq!((status.class, status.namespace.as_deref()), (Class::Write, Some("a")));
        assert_eq!((status.resource.as_str(), status.name.as_str()), ("statefulsets/status", "s"));
        assert_eq!(status.to_string(), "PATCH statefulsets/status s");
        let list = summary(Method::GET, "/api/v1/namespaces/a/services?limit=500");
        assert_eq!((list.class, list.resource.as_str()), (Class::List, "services"));
        assert_eq!(summary(Method::GET, "/api/v1/services?watch=true&limit=5").class, Class::Watch);
        assert_eq!(summary(Method::GET, "/api/v1/services/s?watcher=true").class, Class::Get);
        let namespace = summary(Method::GET, "/api/v1/namespaces/a");
        assert_eq!(
            (namespace.class, namespace.resource.as_str(), namespace.namespace),
            (Class::Get, "namespaces", None)
        );
        let question = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
        assert_eq!(summary(Method::POST, question).class, Class::Other);
        for path in ["/version", "/apis/apps/v1", "/api/v1"] {
            assert_eq!(summary(Method::GET, path).class, Class::Other, "{path}");
        }
    }

    #[test]
    fn the_same_request_made_later_has_the_same_identity() {
        let first = summary(Method::GET, "/api/v1/pods?watch=true&labelSelector=a&resourceVersion=1");
        let second = summary(Method::GET, "/api/v1/pods?watch=true&labelSelector=a&resourceVersion=2");
        assert_eq!(first.identity(), second.identity());
        assert_ne!(first.identity(), summary(Method::GET, "/api/v1/pods?labelSelector=a").identity());
    }
}
