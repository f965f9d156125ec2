//! The policies for containers: files in a directory, each with the containers that it applies to.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::ffi::OsStr;
use std::fs;
use std::io::{ErrorKind, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use knobgate_kernel::Cgroup;
use knobgate_policy::selector::{Selector, SelectorFields};
use knobgate_policy::{
    AccessKind, CheckOptions, FallbackAction, IncludeError, IncludeLoader, IncludedText, Mode, PolicyFile,
    Source, Span, limits, parse,
};
use rustix::fs::OFlags;

use crate::agent_config::{AgentConfig, Binding};
use crate::attachments::Attachments;
use crate::container_error::ContainerError;
use crate::included_files::IncludedFiles;
use crate::kernel_limit::KernelLimit;
use crate::policy_links::PolicyLinks;
use crate::policy_version::{PolicyVersion, name_of_versions};
use crate::starting_container::not_compiled;

/// The policies for containers, sorted by the names of their files.
///
/// ```no_run
/// use std::path::Path;
///
/// use knobgate::kernel::LinkSource;
/// use knobgate::{Attachments, ContainerPolicies, OciState, StartingContainer};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let policies = ContainerPolicies::read(Path::new(ContainerPolicies::DIRECTORY), None)?;
/// let container = StartingContainer::find(&OciState::read(std::io::stdin())?)?;
/// let applying = policies.applying_to(&container.fields())?;
/// container.link(&Attachments::create()?, &applying, LinkSource::Hook)?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Default)]
pub struct ContainerPolicies {
    policies: Vec<ContainerPolicy>,
}

/// A policy for containers.
#[derive(Debug)]
pub struct ContainerPolicy {
    path: PathBuf,
    /// As its file has it.
    file: PolicyFile,
    /// As it is in force.
    version: PolicyVersion,
    selectors: Vec<Selector>,
}

impl ContainerPolicies {
    /// The directory of the policies, unless another one is given.
    pub const DIRECTORY: &str = "/etc/knobgate/policies.d";

    /// Reads the files `*.knob` in `directory`, and what the file `config` says about them. There are no policies without
    /// [`DIRECTORY`](Self::DIRECTORY); any other directory has to be there. Without `config`, that is
    /// [`AgentConfig::PATH`], if there is one.
    ///
    /// # Errors
    ///
    /// [`ContainerError`]: a file that cannot be read, or what is wrong, with its file and line.
    pub fn read(directory: &Path, config: Option<&Path>) -> Result<Self, ContainerError> {
        Self::read_with(directory, AgentConfig::read_or_default(config)?, &mut BTreeSet::new())
    }

    /// The same with a configuration that was read already. Adds to `files` what else was opened, or looked for, also if that fails: a
    /// change there can make a difference.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub fn read_with(
        directory: &Path,
        config: AgentConfig,
        files: &mut BTreeSet<PathBuf>,
    ) -> Result<Self, ContainerError> {
        let mut policies: Vec<ContainerPolicy> = Vec::new();
        let mut places: HashMap<String, usize> = HashMap::new();
        let mut bindings = config.into_bindings();
        let noted = RefCell::default();
        let read = read_unchanged(|| list(directory), |files| read_policies(files, &noted), directory);
        files.append(&mut noted.into_inner());
        for (path, file) in read? {
            let name = file.policy().name();
            let is_it = |binding: &Binding| binding.name() == name;
            let binding = bindings.iter().position(is_it).map(|place| bindings.remove(place));
            let policy = ContainerPolicy::new(path, file, binding)?;
            if let Some(other) =
                places.insert(policy.versions(), policies.len()).map(|place| &policies[place])
            {
                return Err(ContainerError::SameName {
                    path: other.path.clone(),
                    policy: other.name().to_owned(),
                    other_path: policy.path.clone(),
                    other: policy.name().to_owned(),
                });
            }
            policies.push(policy);
        }
        if let Some(binding) = bindings.first() {
            return Err(binding.without_policy(directory, policies.iter().map(ContainerPolicy::name)));
        }
        Ok(Self { policies })
    }

    /// The policies.
    pub fn policies(&self) -> &[ContainerPolicy] {
        &self.policies
    }

    /// Those that apply to a container.
    ///
    /// # Errors
    ///
    /// [`ContainerError::NotKnown`]: a policy looks at something that is not known of the container.
    pub fn applying_to(&self, fields: &dyn SelectorFields) -> Result<Vec<&ContainerPolicy>, ContainerError> {
        let mut applying = Vec::new();
        for policy in &self.policies {
            if policy.applies_to(fields)? {
                applying.push(policy);
            }
        }
        Ok(applying)
    }
}

impl ContainerPolicy {
    fn new(path: PathBuf, file: PolicyFile, binding: Option<Binding>) -> Result<Self, ContainerError> {
        let (mode, apply_if) = binding.map(Binding::into_parts).unwrap_or_default();
        let selectors = apply_if.unwrap_or_else(|| file.policy().apply_if().to_vec());
        if selectors.is_empty() {
            let policy = file.policy().name().to_owned();
            return Err(ContainerError::AppliesToNothing { path, policy });
        }
        let in_force = match mode {
            Some(mode) if mode != file.policy().mode() => with_mode(&file, mode)?,
            _ => file.clone(),
        };
        Ok(Self { path, file, version: PolicyVersion::new(in_force), selectors })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.file.policy().name()
    }

    /// Its file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The policy as its file has it. Its [mode](Self::mode) may be another one.
    pub fn file(&self) -> &PolicyFile {
        &self.file
    }

    /// The mode that is in force.
    pub fn mode(&self) -> Mode {
        self.version.file().policy().mode()
    }

    /// The policy as it is in force, with the name of its attachment.
    pub fn version(&self) -> &PolicyVersion {
        &self.version
    }

    /// Which containers it applies to. One that holds is enough.
    pub fn selectors(&self) -> &[Selector] {
        &self.selectors
    }

    /// Whether it is enforced, and denies the writes that no rule allows.
    pub fn denies_writes_by_default(&self) -> bool {
        let policy = self.version.file().policy();
        let action = &policy.defaults().of(AccessKind::Write).action;
        policy.mode() == Mode::Enforce && matches!(action, FallbackAction::Deny(_))
    }

    /// Whether it applies to a container: whether one of its selectors holds, in whatever order they are.
    ///
    /// # Errors
    ///
    /// [`ContainerError::NotKnown`]: none holds, and one cannot be evaluated.
    pub fn applies_to(&self, fields: &dyn SelectorFields) -> Result<bool, ContainerError> {
        let mut not_known = None;
        for selector in &self.selectors {
            let decision = selector.decide(fields);
            match decision.holds {
                Some(true) => return Ok(true),
                Some(false) => {}
                None => not_known = not_known.or(Some(decision)),
            }
        }
        let Some(decision) = not_known else { return Ok(false) };
        let unknown = decision.because.iter().find(|test| test.holds.is_none());
        Err(ContainerError::NotKnown {
            policy: self.name().to_owned(),
            field: unknown.map_or_else(String::new, |test| test.test.field().to_string()),
        })
    }

    /// Whether it is on a cgroup, in this or another version: a container that was started before the policy was edited has the
    /// older one.
    ///
    /// # Errors
    ///
    /// [`ContainerError::Attachment`].
    pub fn is_on(&self, attachments: &Attachments, cgroup: &Cgroup) -> Result<bool, ContainerError> {
        Ok(attachments.is_linked(&self.version, cgroup)?)
    }

    /// Makes the attachment of its version, if there is none: compiles the policy, and loads its program.
    ///
    /// # Errors
    ///
    /// [`ContainerError::NotCompiled`], [`Attachment`](ContainerError::Attachment).
    pub fn prepare(&self, links: &mut PolicyLinks) -> Result<Vec<KernelLimit>, ContainerError> {
        links.prepare(&self.version).map_err(|error| not_compiled(&[self], error))
    }

    fn versions(&self) -> String {
        name_of_versions(self.name())
    }
}

/// The files `*.knob` in a directory, sorted. None if it is the usual directory, and is not there.
fn list(directory: &Path) -> Result<Vec<PathBuf>, ContainerError> {
    let failed = |source| ContainerError::Read { path: directory.to_owned(), source };
    let entries = match fs::read_dir(directory) {
        Err(error)
            if error.kind() == ErrorKind::NotFound
                && directory == Path::new(ContainerPolicies::DIRECTORY)
                && is_absent(directory) =>
        {
            return Ok(Vec::new());
        }
        entries => entries.map_err(failed)?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(failed)?.path();
        let is_hidden = path.file_name().is_none_or(|name| name.as_bytes().starts_with(b"."));
        if !is_hidden && path.extension() == Some(OsStr::new("knob")) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Whether there is nothing at `path`, not even a link that leads nowhere.
pub(crate) fn is_absent(path: &Path) -> bool {
    fs::symlink_metadata(path).is_err_and(|error| error.kind() == ErrorKind::NotFound)
}

/// What `read` makes of the files that `list` finds, if these are the same afterwards. A file that is replaced while its directory is
/// listed can be missing in the list (readdir(3)), and its policy must not be.
fn read_unchanged<T>(
    mut list: impl FnMut() -> Result<Vec<PathBuf>, ContainerError>,
    read: impl Fn(&[PathBuf]) -> Result<T, ContainerError>,
    directory: &Path,
) -> Result<T, ContainerError> {
    const TRIES: u32 = 100;
    let mut files = list()?;
    for _ in 0..TRIES {
        let read = read(&files);
        let again = list()?;
        if again == files {
            return read;
        }
        files = again;
    }
    let source = std::io::Error::other("its files change all the time");
    Err(ContainerError::Read { path: directory.to_owned(), source })
}

fn read_policies(files: &[PathBuf], noted: &Noted) -> Result<Vec<(PathBuf, PolicyFile)>, ContainerError> {
    files.iter().map(|path| Ok((path.clone(), read_policy(path, noted)?))).collect()
}

fn read_policy(path: &Path, noted: &Noted) -> Result<PolicyFile, ContainerError> {
    noted.borrow_mut().insert(path.to_owned());
    let bytes = read_limited(path, limits::FILE_MAX)?;
    let source = Source::from_bytes(path.display().to_string(), &bytes);
    let includes = NotedIncludes { files: IncludedFiles::of(path), noted };
    Ok(parse(source, &CheckOptions::default().includes(&includes))?)
}

/// The files that were opened, or looked for.
type Noted = RefCell<BTreeSet<PathBuf>>;

/// The files that a policy includes, which it notes.
#[derive(Debug)]
struct NotedIncludes<'a> {
    files: IncludedFiles,
    noted: &'a Noted,
}

impl IncludeLoader for NotedIncludes<'_> {
    fn policy_id(&self) -> Option<PathBuf> {
        self.files.policy_id()
    }

    fn load(&self, name: &str, from: Option<&Path>, most: usize) -> Result<IncludedText, IncludeError> {
        self.noted.borrow_mut().insert(self.files.path(name, from));
        self.files.load(name, from, most)
    }
}

/// The bytes of a file.
pub(crate) fn read_limited(path: &Path, most: usize) -> Result<Vec<u8>, ContainerError> {
    let failed = |source| ContainerError::Read { path: path.to_owned(), source };
    let not_regular = || failed(std::io::Error::other("it is not a regular file"));
    // Opening a device can do something.
    if !fs::metadata(path).map_err(failed)?.is_file() {
        return Err(not_regular());
    }
    // Opening a FIFO would wait for its writer, and somebody may have just put one there.
    let without_waiting = OFlags::NONBLOCK.bits().cast_signed();
    let file = fs::File::options().read(true).custom_flags(without_waiting).open(path).map_err(failed)?;
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(not_regular());
    }
    let mut bytes = Vec::new();
    file.take(most as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() > most {
        return Err(ContainerError::TooLarge { path: path.to_owned(), most });
    }
    Ok(bytes)
}

/// The same policy in another mode. Its text says so, as far as possible on the same lines.
fn with_mode(file: &PolicyFile, mode: Mode) -> Result<PolicyFile, ContainerError> {
    let statement = match mode {
        Mode::Audit => "mode audit",
        Mode::Enforce => "mode enforce",
    };
    let text = file.source().text();
    let text = match file.mode_span() {
        Some(Span { start, end }) => format!("{}{statement}{}", &text[..start], &text[end..]),
        None => format!("{text}{}{statement}\n", if text.ends_with('\n') { "" } else { "\n" }),
    };
    let source = Source::new(file.source().name(), text).with_restored_includes();
    Ok(parse(source, &CheckOptions::default())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(names: &[&str]) -> Vec<PathBuf> {
        names.iter().map(PathBuf::from).collect()
    }

    #[test]
    fn files_that_change_are_read_again() {
        // One is missing while it is replaced, and one is gone before it is opened.
        let lists = [&["a"][..], &["a", "gone"], &["a", "b"], &["a", "b"]];
        let mut lists = lists.into_iter().map(listed);
        let read = read_unchanged(
            || Ok(lists.next().expect("a list")),
            |files| {
                let gone = ContainerError::State { why: "gone".to_owned() };
                if files == listed(&["a", "gone"]) { Err(gone) } else { Ok(files.to_vec()) }
            },
            Path::new("/policies.d"),
        );
        assert_eq!(read.unwrap(), listed(&["a", "b"]));
        assert_eq!(lists.next(), None);

        let mut name = "x".to_owned();
        let list = || {
            name.push('x');
            Ok(listed(&[&name]))
        };
        let never = read_unchanged(list, |_| Ok(()), Path::new("/policies.d")).unwrap_err();
        assert_eq!(never.to_string(), "cannot read /policies.d");
    }
}
