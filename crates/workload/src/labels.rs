//! The labels of containers and pods.

use std::collections::BTreeMap;
use std::fmt;

/// The labels of a container and, in Kubernetes, of its pod, as far as they are known. Whoever builds the image or starts the
/// container chooses them.
///
/// ```
/// use knobgate_workload::Labels;
///
/// let labels = Labels::new([("app", "web")], true);
/// assert_eq!((labels.get(b"app"), labels.get(b"tier")), (Some(&b"web"[..]), Some(&b""[..])));
/// assert_eq!(Labels::default().get(b"app"), None);
/// ```
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Labels {
    known: BTreeMap<Vec<u8>, Vec<u8>>,
    is_complete: bool,
}

impl Labels {
    /// These labels. If they are all of them, there is known to be no other one.
    pub fn new<T: Into<Vec<u8>>>(known: impl IntoIterator<Item = (T, T)>, is_complete: bool) -> Self {
        let known = known.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
        Self { known, is_complete }
    }

    /// The value of the label with this key: `None` if it is not known, and empty if there is known to be no such label. The bytes
    /// are raw: escape them before you print them.
    pub fn get(&self, key: &[u8]) -> Option<&[u8]> {
        self.known.get(key).map(Vec::as_slice).or(self.is_complete.then_some(b""))
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let labels = self.known.iter().map(|(key, value)| (key.escape_ascii(), value.escape_ascii()));
        let mut map = f.debug_map();
        map.entries(labels.map(|(key, value)| (key.to_string(), value.to_string())));
        if self.is_complete { map.finish() } else { map.finish_non_exhaustive() }
    }
}
