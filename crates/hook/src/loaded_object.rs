//! Objects on the hook: their programs, maps and variables.

use std::collections::BTreeMap;

use knobgate_bpf::{Object, ObjectError, ObjectVariable};

use crate::attach::{AttachMode, Options};
use crate::maps::{FromBytes, ToBytes};
use crate::source_line::source_line;
use crate::{CgroupId, Error, Hook, LoadOptions, LoadedProgram, Map, ProgramId, Rejection};

/// The programs of an object that was loaded, and the maps that they share.
///
/// ```
/// use knobgate_hook::prelude::*;
///
/// let mut hook = Hook::default();
/// let service = hook.create_cgroup(hook.root(), "web.service")?;
/// let several = hook.load_object(include_bytes!("../../../examples/objects/several.bpf.o"))?;
/// hook.attach_program(service, &several, "hand_on")?;
///
/// let process = hook.spawn(service, Process::default())?;
/// assert_eq!(hook.write_sysctl(process, "kernel.domainname", "x")?, Denied(Errno::EPERM));
/// assert_eq!(several.variable::<u32>("handed_on")?, 101);
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct LoadedObject {
    programs: BTreeMap<String, ProgramId>,
    maps: BTreeMap<String, Map>,
    variables: Vec<ObjectVariable>,
}

/// Objects, as clang compiles them.
impl Hook {
    /// Loads the only program for this hook in an object, from the bytes of its file, and attaches it to `cgroup`.
    ///
    /// # Errors
    ///
    /// As [`load_object`](Self::load_object) and [`attach_program`](Self::attach_program). There are several programs, or
    /// none ([`Error::Object`]).
    pub fn attach_object(&mut self, cgroup: CgroupId, object: &[u8]) -> Result<LoadedObject, Error> {
        let object = Object::read(object)?;
        let name = object.program_for(None, &self.kernel)?.name;
        let loaded = self.load_programs(&object)?;
        self.attach_program(cgroup, &loaded, &name)?;
        Ok(loaded)
    }

    /// Loads all programs for this hook in an object, from the bytes of its file. They share the object's maps; maps that are
    /// pinned by name (`LIBBPF_PIN_BY_NAME`) they share with all objects of this hook.
    ///
    /// # Errors
    ///
    /// [`Error::Object`]: it is not an object, or uses something that is not supported. [`Error::Rejected`]: the kernel would
    /// not load one of its programs.
    pub fn load_object(&mut self, object: &[u8]) -> Result<LoadedObject, Error> {
        self.load_programs(&Object::read(object)?)
    }

    /// Attaches the program `name` of an object to `cgroup`, after those that are there ([`AttachMode::Multi`]). To attach it in
    /// another way, use [`Hook::attach`] or [`Hook::link`] with [`LoadedObject::program`].
    ///
    /// # Errors
    ///
    /// [`Error::Object`]: there is no such program. [`Error::Attach`]: the kernel would not attach it.
    pub fn attach_program(
        &mut self,
        cgroup: CgroupId,
        object: &LoadedObject,
        name: &str,
    ) -> Result<(), Error> {
        let program = object.program(name)?;
        self.attach(cgroup, program, AttachMode::Multi, Options::default())
            .map_err(|errno| Error::Attach { program: name.to_owned(), errno })
    }

    /// The same, from an object that was read before. This way, its variables can be set before they are constant:
    ///
    /// ```
    /// use knobgate_hook::prelude::*;
    ///
    /// let mut object = Object::read(include_bytes!("../../../examples/objects/settings.bpf.o"))?;
    /// object.set("enabled", "true")?;
    /// object.set("mode", "ENFORCE")?;
    ///
    /// let mut hook = Hook::default();
    /// let service = hook.create_cgroup(hook.root(), "web.service")?;
    /// let settings = hook.load_programs(&object)?;
    /// hook.attach_program(service, &settings, "settings")?;
    /// let process = hook.spawn(service, Process::default())?;
    /// assert_eq!(hook.write_sysctl(process, "kernel.domainname", "x")?, Denied(Errno::EPERM));
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`load_object`](Self::load_object).
    pub fn load_programs(&mut self, object: &Object) -> Result<LoadedObject, Error> {
        let options = LoadOptions::default();
        let mut loaded =
            LoadedObject { programs: BTreeMap::new(), maps: BTreeMap::new(), variables: Vec::new() };
        for entry in object.programs().iter().filter(|program| program.expected_attach_type.is_some()) {
            let mut program = object.program_for(Some(&entry.name), &self.kernel)?;
            let lines = program.lines.clone();
            let rejected = |rejection: Rejection| Error::Rejected {
                kernel: self.profile.name,
                program: entry.name.clone(),
                line: rejection.insn().and_then(|insn| source_line(&lines, insn)),
                rejection,
            };
            let (mut maps, mut are_new) = (Vec::new(), Vec::new());
            for (index, def) in program.maps.iter().enumerate() {
                let pinned = self.pinned_maps.get(&def.name).filter(|_| def.pinned_by_name);
                let known = loaded.maps.get(&def.name).or(pinned).cloned();
                // What was there before keeps its contents.
                are_new.push(known.is_none());
                let map = match known {
                    Some(map) => map,
                    None => Map::for_kernel(def, &self.profile, options.cpus)
                        .map_err(|error| rejected(Rejection::Map { index, name: def.name.clone(), error }))?,
                };
                let differences = Map::created(def, options.cpus).differences(map.def());
                if let Some(differences) = differences.filter(|_| def.pinned_by_name) {
                    return Err(rejected(Rejection::PinnedMap { name: def.name.clone(), differences }));
                }
                if def.pinned_by_name {
                    self.pinned_maps.insert(def.name.clone(), map.clone());
                }
                loaded.maps.insert(def.name.clone(), map.clone());
                maps.push(map);
            }
            program.inner_maps.retain(|inner| are_new[inner.outer]);
            let program =
                LoadedProgram::load_with_maps(&program, maps, &self.profile, &options).map_err(rejected)?;
            loaded.programs.insert(entry.name.clone(), self.load(program));
        }
        let has_map = |variable: &&ObjectVariable| loaded.maps.contains_key(&variable.section);
        loaded.variables = object.variables().iter().filter(has_map).cloned().collect();
        Ok(loaded)
    }
}

impl LoadedObject {
    /// The program of this name.
    ///
    /// # Errors
    ///
    /// [`Error::Object`]: there is none for this hook.
    pub fn program(&self, name: &str) -> Result<ProgramId, Error> {
        self.programs.get(name).copied().ok_or_else(|| {
            let programs = self.programs.keys().cloned().collect();
            ObjectError::NoSuchProgram { name: name.to_owned(), programs }.into()
        })
    }

    /// The map of this name.
    ///
    /// # Errors
    ///
    /// [`Error::NoMap`]: no program of the object uses such a map.
    pub fn map(&self, name: &str) -> Result<&Map, Error> {
        self.maps
            .get(name)
            .ok_or_else(|| Error::NoMap { name: name.to_owned(), known: self.maps.keys().cloned().collect() })
    }

    /// The value of a global or static variable.
    ///
    /// # Errors
    ///
    /// [`Error::NoVariable`]: no program of the object uses such a variable. [`Error::Type`]: it has another size.
    pub fn variable<V: FromBytes>(&self, name: &str) -> Result<V, Error> {
        let (map, ObjectVariable { offset, size, .. }) = self.find(name)?;
        let section = map.lookup(&[0; 4]).unwrap_or_default();
        let bytes = section.get(*offset..).and_then(|rest| rest.get(..*size));
        bytes.and_then(V::from_bytes).ok_or_else(|| type_error::<V>(name, *size))
    }

    /// Changes the value of a global or static variable.
    ///
    /// # Errors
    ///
    /// As [`variable`](Self::variable). [`Error::Map`]: it is constant.
    pub fn set_variable(&self, name: &str, value: impl ToBytes) -> Result<(), Error> {
        let (map, ObjectVariable { section, offset, size, .. }) = self.find(name)?;
        fn bytes_of<T: ToBytes>(name: &str, value: T, size: usize) -> Result<Vec<u8>, Error> {
            value.to_bytes(size).ok_or_else(|| type_error::<T>(name, size))
        }
        let bytes = bytes_of(name, value, *size)?;
        let mut whole = map.lookup(&[0; 4]).unwrap_or_default();
        let place = whole.get_mut(*offset..).and_then(|rest| rest.get_mut(..*size));
        place.ok_or_else(|| type_error::<Vec<u8>>(name, *size))?.copy_from_slice(&bytes);
        map.update(&[0; 4], &whole, 0).map_err(|error| Error::Map { map: section.clone(), error })
    }

    fn find(&self, name: &str) -> Result<(&Map, &ObjectVariable), Error> {
        let found = self.variables.iter().find(|variable| variable.name == name);
        let found = found.and_then(|variable| Some((self.maps.get(&variable.section)?, variable)));
        found.ok_or_else(|| Error::NoVariable {
            name: name.to_owned(),
            known: self.variables.iter().map(|variable| variable.name.clone()).collect(),
        })
    }
}

fn type_error<T>(variable: &str, size: usize) -> Error {
    Error::Type { what: format!("the variable \"{variable}\""), size, rust: std::any::type_name::<T>() }
}
