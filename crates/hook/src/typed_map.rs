//! Access to maps by Rust types.

use crate::maps::{ANY, FromBytes, ToBytes};
use crate::{Error, Map};

/// Keys and values as Rust types. A per-CPU map has one value under each key on one CPU, which is the default
/// ([`LoadOptions`](crate::LoadOptions)); use [`lookup`](Map::lookup) and [`update`](Map::update) if there are more CPUs.
impl Map {
    /// The value under `key`, if there is one.
    ///
    /// ```
    /// use knobgate_hook::prelude::*;
    ///
    /// let mut hook = Hook::default();
    /// let watch = hook.attach_object(hook.root(), include_bytes!("../../../examples/objects/watch.bpf.o"))?;
    /// let process = hook.spawn(hook.root(), Process::default())?;
    /// hook.write_sysctl(process, "kernel.domainname", "one")?;
    /// assert_eq!(watch.map("writes")?.get("kernel/domainname")?, Some(1_u64));
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Type`]: the key or the value has another size.
    pub fn get<K: ToBytes, V: FromBytes>(&self, key: K) -> Result<Option<V>, Error> {
        let def = self.def();
        let Some(mut value) = self.lookup(&self.key(&key)?) else { return Ok(None) };
        let size = def.value_size as usize;
        if def.kind.is_per_cpu() && value.len() == size.next_multiple_of(8) {
            value.truncate(size);
        }
        V::from_bytes(&value).map(Some).ok_or_else(|| self.type_error::<V>("value", value.len()))
    }

    /// Sets the value under `key`.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get). [`Error::Map`]: the map is full, frozen, or of another kind.
    pub fn insert<K: ToBytes, V: ToBytes>(&self, key: K, value: V) -> Result<(), Error> {
        let def = self.def();
        let size = def.value_size as usize;
        let mut bytes = value.to_bytes(size).ok_or_else(|| self.type_error::<V>("value", size))?;
        if def.kind.is_per_cpu() {
            bytes.resize(size.next_multiple_of(8), 0);
        }
        self.update(&self.key(&key)?, &bytes, ANY)
            .map_err(|error| Error::Map { map: def.name.clone(), error })
    }

    fn key<K: ToBytes>(&self, key: &K) -> Result<Vec<u8>, Error> {
        let size = self.def().key_size as usize;
        key.to_bytes(size).ok_or_else(|| self.type_error::<K>("key", size))
    }

    fn type_error<T>(&self, part: &str, size: usize) -> Error {
        let what = format!("a {part} of the map \"{}\"", self.def().name);
        Error::Type { what, size, rust: std::any::type_name::<T>() }
    }
}
