//! A policy whose program exists without any cgroup, and the name of its attachment.
//!
//! Containers come and go, and each start must be quick. So the program of a policy for containers is loaded once, and pinned in an
//! attachment `NAME@HASH`. An edited policy is another version, with another hash: containers that run keep the version
//! that they were started with.

use knobgate_kernel::AttachmentName;
use knobgate_policy::PolicyFile;
use sha2::{Digest, Sha256};

/// What the hash is over, beside the policy. It changes if the same policy would have to be loaded anew.
const FORMAT: &str = concat!("knobgate policy version 1, ", env!("CARGO_PKG_VERSION"), "\0");
/// How many digits of the hash a name has.
const DIGITS: usize = 12;

/// A policy for cgroups that come and go, such as those of containers.
#[derive(Debug)]
pub struct PolicyVersion {
    file: PolicyFile,
    name: AttachmentName,
}

impl PolicyVersion {
    /// The version with this text.
    ///
    /// # Panics
    ///
    /// Never: the name of a policy makes a name of an attachment.
    pub fn new(file: PolicyFile) -> Self {
        let digest = Sha256::new().chain_update(FORMAT).chain_update(&*file.program_text()).finalize();
        let digits: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        let name = format!("{}@{}", name_of_versions(file.policy().name()), &digits[..DIGITS]);
        let name = name.parse().expect("a name of letters, digits, `_` and `-`");
        Self { file, name }
    }

    /// The policy.
    pub fn file(&self) -> &PolicyFile {
        &self.file
    }

    /// The name of its attachment: `NAME@HASH`.
    pub fn name(&self) -> &AttachmentName {
        &self.name
    }
}

/// What the attachments of all versions of a policy have before the `@`: its name, with `_` where the name of an attachment cannot
/// have the character, and shortened to what leaves room for the hash.
pub fn name_of_versions(policy: &str) -> String {
    const MAX: usize = AttachmentName::MAX - DIGITS - 1;
    let character = |c: char| if c.is_ascii_alphanumeric() || "_-:@".contains(c) { c } else { '_' };
    let mut name: String = policy.chars().map(character).take(MAX).collect();
    if !name.starts_with(|first: char| first.is_ascii_alphanumeric()) {
        name.insert(0, 'p');
        name.truncate(MAX);
    }
    name
}

/// The policy of which this can be the name of a version, as [`name_of_versions`] has it.
pub fn versions_of(name: &AttachmentName) -> Option<&str> {
    let (versions, hash) = name.as_str().rsplit_once('@')?;
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    (hash.len() == DIGITS && hash.bytes().all(is_digit)).then_some(versions)
}

#[cfg(test)]
mod tests {
    use knobgate_policy::{CheckOptions, Source, parse};

    use super::*;

    fn version(text: &str) -> PolicyVersion {
        PolicyVersion::new(parse(Source::new("x.knob", text), &CheckOptions::default()).unwrap())
    }

    #[test]
    fn a_version_is_named_after_its_policy_and_its_text() {
        let (one, other) = (version("policy web\n"), version("policy web\nmode audit\n"));
        assert_ne!(one.name(), other.name());
        assert_eq!(one.name(), version("policy web\n").name());
        for version in [one, other] {
            assert_eq!(versions_of(version.name()), Some("web"), "{}", version.name());
        }
    }

    #[test]
    fn every_name_of_a_policy_makes_a_name_of_an_attachment() {
        let longest = "x".repeat(63);
        for name in ["a.b", "a-b", "_a", "-x", &longest] {
            let expected = name_of_versions(name);
            let named: AttachmentName = format!("{expected}@0123456789ab").parse().unwrap();
            assert_eq!(versions_of(&named), Some(&*expected), "{name}");
        }
        assert_eq!(name_of_versions("a.b"), "a_b");
        assert_eq!(name_of_versions(&longest).len(), 50);
        // No policy has such a name, so it is not that of another one.
        assert_eq!(name_of_versions("a@b"), "a@b");
    }

    #[test]
    fn other_names_are_no_versions() {
        for name in ["web", "web@1", "nginx@1:2_3", "web@0123456789aB", "web@0123456789abc"] {
            assert_eq!(versions_of(&name.parse().unwrap()), None, "{name}");
        }
    }
}
