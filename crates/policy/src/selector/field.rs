//! What a selector can look at.

use std::borrow::Cow;
use std::fmt;

use crate::Text;

/// A field of a container or unit.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SelectorField {
    /// `engine`: what started it. Its text is an [`Engine`](super::Engine)'s name.
    Engine,
    /// `cgroup`: the path of its topmost cgroup, from the root of the hierarchy.
    Cgroup,
    /// `unit`: the systemd unit that it is, or that contains it. The scope of a container is none.
    Unit,
    /// `container`: the name of the container or machine.
    Container,
    /// `pod`: the name of the pod.
    Pod,
    /// `namespace`: the namespace of Kubernetes, or of containerd.
    Namespace,
    /// `image`: the image of the container, as it was asked for.
    Image,
    /// `label("KEY")`: a label of the container or, in Kubernetes, of its pod.
    Label(Text),
}

/// The fields of a container or unit, whatever it is.
pub trait SelectorFields {
    /// The text of a field: `None` if it is not known, and empty if it is known to have none. For example, a unit
    /// that is no container is known to have no pod. An [`Image`](SelectorField::Image) is as the engine has it.
    fn text(&self, field: &SelectorField) -> Option<Cow<'_, [u8]>>;
}

/// As the language writes it.
impl fmt::Display for SelectorField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Engine => "engine",
            Self::Cgroup => "cgroup",
            Self::Unit => "unit",
            Self::Container => "container",
            Self::Pod => "pod",
            Self::Namespace => "namespace",
            Self::Image => "image",
            Self::Label(key) => return write!(f, "label({key})"),
        })
    }
}
