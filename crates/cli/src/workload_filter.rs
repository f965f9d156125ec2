//! `--container`, `--unit` and `--pod` as filters of events.

use knobgate::workload::{Piece, Workload, WorkloadName};
use knobgate::{FoundWorkload, WorkloadResolver, WorkloadSearchError};
use knobgate_policy::Text;
use knobgate_policy::selector::Engine;

use crate::failure::Failure;
use crate::output::Output;
use crate::target::WorkloadArgs;
use crate::workload_failure::{not_found, similar};

/// The filter for events of these workloads on this machine; `None` if none is named. They need not exist any more, or yet: the names
/// that events have count.
///
/// # Errors
/// [`Failure::Usage`] if it is not clear which one is meant.
pub(crate) fn here(workloads: &WorkloadArgs, output: &Output) -> Result<Option<String>, Failure> {
    let mut conditions = Vec::new();
    for name in workloads.names() {
        let found = WorkloadResolver::new().map_err(WorkloadSearchError::from);
        let found = match found.and_then(|mut resolver| resolver.find(name)) {
            Ok(found) => Some(found),
            Err(WorkloadSearchError::Several(several))
                if several.iter().all(|one| calls_itself(one, name)) =>
            {
                None
            }
            Err(error @ WorkloadSearchError::Several(_)) => return Err(not_found(name, error)),
            Err(error) => {
                if let WorkloadSearchError::NotFound { existing, .. } = error
                    && let Some(near) = similar(name, &existing)
                {
                    output.note(format_args!("{name} does not exist now; did you mean {near}?"));
                }
                None
            }
        };
        conditions.push(condition(name, found.as_ref()));
    }
    Ok(any_of(&conditions))
}

/// The same for events that were recorded, perhaps on another machine.
pub(crate) fn recorded(workloads: &WorkloadArgs) -> Option<String> {
    any_of(&workloads.names().map(|name| condition(name, None)).collect::<Vec<_>>())
}

fn any_of(conditions: &[String]) -> Option<String> {
    (!conditions.is_empty()).then(|| conditions.join(" or "))
}

/// Whether the events of the workload have this very name.
fn calls_itself(found: &FoundWorkload, name: &WorkloadName) -> bool {
    let is = |piece: &Option<Piece>, text: &str| {
        piece.as_ref().is_some_and(|piece| piece.bytes() == text.as_bytes())
    };
    match name {
        WorkloadName::Container(name) => is(&found.workload.container_name, name),
        WorkloadName::Unit(unit) => is(&found.workload.unit, unit),
        WorkloadName::Pod { .. } => true,
    }
}

/// The condition that an event is of this workload.
fn condition(name: &WorkloadName, found: Option<&FoundWorkload>) -> String {
    match (name, found) {
        (_, Some(found)) if !calls_itself(found, name) => of_found(found),
        (WorkloadName::Container(name), None) => of_label(name).unwrap_or_else(|| of_container(name)),
        (WorkloadName::Container(name), Some(_)) => format!("container == {}", quoted(name)),
        (WorkloadName::Unit(unit), _) => format!("unit == {}", quoted(unit)),
        (WorkloadName::Pod { namespace, name }, _) => {
            format!("namespace == {} and pod == {}", quoted(namespace), quoted(name))
        }
    }
}

/// The same for a container that is not there, by its name or the beginning of its id.
fn of_container(name: &str) -> String {
    let field = if is_digits(name) { "container_id starts with" } else { "container ==" };
    format!("{field} {}", quoted(name))
}

/// The same by its label, which is what events show: `docker/web`, `k8s/prod/web-0/nginx`. Filters know of no engines and projects, so
/// containers of this name elsewhere match, too. `None` if this is no label.
fn of_label(text: &str) -> Option<String> {
    /// What a label says of a container whose engine is not known.
    const UNKNOWN_ENGINE: &str = "container";
    let is_engine = |name: &str| name == UNKNOWN_ENGINE || Engine::from_name(name).is_some();
    match text.split('/').collect::<Vec<_>>()[..] {
        ["k8s", namespace, pod, container] => Some(format!(
            "namespace == {} and pod == {} and {}",
            quoted(namespace),
            quoted(pod),
            of_container(container)
        )),
        ["containerd", namespace, container] => {
            Some(format!("namespace == {} and {}", quoted(namespace), of_container(container)))
        }
        ["incus" | "lxd", _project, container] => Some(of_container(container)),
        [engine, container] if is_engine(engine) => Some(of_container(container)),
        _ => None,
    }
}

/// The same for a workload that exists, by what its events certainly have.
fn of_found(FoundWorkload { cgroup, workload, .. }: &FoundWorkload) -> String {
    let Workload { container_id, container_name, .. } = workload;
    match (container_id, container_name) {
        (Some(id), _) => format!("container_id == {}", Text::from(id.bytes())),
        (None, Some(name)) => format!("container == {}", Text::from(name.bytes())),
        // A slice.
        (None, None) => {
            let path = cgroup.path().as_os_str().as_encoded_bytes();
            let below = Text::from([path, b"/"].concat());
            format!("cgroup == {} or cgroup starts with {below}", Text::from(path))
        }
    }
}

/// Whether this looks like the beginning of an id, of which so much is shown where there is no name.
fn is_digits(text: &str) -> bool {
    const SHOWN: usize = 12;
    text.len() >= SHOWN && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn quoted(text: &str) -> Text {
    Text::from(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_that_is_gone_is_found_by_its_name_its_id_and_its_label() {
        for (text, filter) in [
            ("web", r#"container == "web""#),
            ("4f6b1e3a9c0d", r#"container_id starts with "4f6b1e3a9c0d""#),
            ("docker/web", r#"container == "web""#),
            ("runc/4f6b1e3a9c0d", r#"container_id starts with "4f6b1e3a9c0d""#),
            ("k8s/prod/web-0/nginx", r#"namespace == "prod" and pod == "web-0" and container == "nginx""#),
            ("containerd/default/web", r#"namespace == "default" and container == "web""#),
            ("incus/shop/web", r#"container == "web""#),
            ("dokcer/web", r#"container == "dokcer/web""#),
            ("docker/a/web", r#"container == "docker/a/web""#),
        ] {
            assert_eq!(condition(&WorkloadName::Container(text.to_owned()), None), filter, "{text}");
        }
    }
}
