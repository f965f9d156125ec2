//! The paths of cgroups in the memory of a policy, which are known after a cgroup is gone.

use crate::events::EVENT_CGROUP_PATH_BYTES;

/// The longest path that is kept. One byte more was the end of a longer path in earlier versions, whose programs may still run.
const BYTES_MAX: usize = EVENT_CGROUP_PATH_BYTES as usize - 2;

/// The path of a cgroup as a value of [`EVENT_CGROUPS_MAP`](crate::EVENT_CGROUPS_MAP); `None` if it is too long. A part of it would
/// be another path.
///
/// ```
/// use knobgate_compiler::{cgroup_path_in_value, cgroup_path_value};
///
/// let value = cgroup_path_value(b"/sys/fs/cgroup/web").unwrap();
/// assert_eq!(cgroup_path_in_value(&value), Some(&b"/sys/fs/cgroup/web"[..]));
/// assert_eq!(cgroup_path_value(&[b'/'; 300]), None);
/// ```
pub fn cgroup_path_value(path: &[u8]) -> Option<Vec<u8>> {
    let mut value = path.to_vec();
    value.resize(EVENT_CGROUP_PATH_BYTES as usize, 0);
    (path.len() <= BYTES_MAX).then_some(value)
}

/// The path in a value of [`EVENT_CGROUPS_MAP`](crate::EVENT_CGROUPS_MAP); `None` if it was cut.
pub fn cgroup_path_in_value(value: &[u8]) -> Option<&[u8]> {
    let end = value.iter().position(|&byte| byte == 0).unwrap_or(value.len());
    (1..=BYTES_MAX).contains(&end).then(|| &value[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_whole_or_absent() {
        for length in [1, 2, 253, 254] {
            let path = vec![b'a'; length];
            let value = cgroup_path_value(&path).expect("it fits");
            assert_eq!(value.len(), 256);
            assert_eq!(cgroup_path_in_value(&value), Some(&*path));
        }
        for length in [255, 256, 257, 4096] {
            assert_eq!(cgroup_path_value(&vec![b'a'; length]), None, "{length}");
        }
        // As earlier versions cut them, and an empty value.
        for length in [0, 255, 256] {
            let mut value = vec![b'a'; length];
            value.resize(256, 0);
            assert_eq!(cgroup_path_in_value(&value), None, "{length}");
        }
    }
}
