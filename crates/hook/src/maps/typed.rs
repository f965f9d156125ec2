//! Keys and values of maps as Rust types.

use crate::{Error, Map};

/// A type that is written to a map or a variable: an integer, an array of such types, text with NULs after it up to the size
/// in C (`char name[64]`), or bytes of exactly that size. Implement it for your own structs.
pub trait ToBytes {
    /// The value as `size` bytes, as a C compiler lays it out, little-endian. `None`: it does not have this size.
    fn to_bytes(&self, size: usize) -> Option<Vec<u8>>;
}

/// A type that is read from a map or a variable: an integer, an array of such types, text up to the first NUL, or bytes.
/// Implement it for your own structs.
pub trait FromBytes: Sized {
    /// The value of these bytes, as a C compiler lays them out, little-endian. `None`: it has another size, or is not text.
    fn from_bytes(bytes: &[u8]) -> Option<Self>;
}

macro_rules! integers {
    ($($integer:ty)*) => { $(
        impl ToBytes for $integer {
            fn to_bytes(&self, size: usize) -> Option<Vec<u8>> {
                (size == size_of::<Self>()).then(|| self.to_le_bytes().to_vec())
            }
        }

        impl FromBytes for $integer {
            fn from_bytes(bytes: &[u8]) -> Option<Self> {
                bytes.try_into().ok().map(Self::from_le_bytes)
            }
        }
    )* };
}

integers!(u8 i8 u16 i16 u32 i32 u64 i64);

impl<T: ToBytes, const N: usize> ToBytes for [T; N] {
    fn to_bytes(&self, size: usize) -> Option<Vec<u8>> {
        let each = size.checked_div(N).filter(|each| each * N == size)?;
        let elements = self.iter().map(|element| element.to_bytes(each));
        Some(elements.collect::<Option<Vec<_>>>()?.concat())
    }
}

impl<T: FromBytes, const N: usize> FromBytes for [T; N] {
    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let each = bytes.len().checked_div(N).filter(|each| *each > 0 && each * N == bytes.len())?;
        let elements = bytes.chunks(each).map(T::from_bytes).collect::<Option<Vec<T>>>()?;
        elements.try_into().ok()
    }
}

impl ToBytes for &str {
    fn to_bytes(&self, size: usize) -> Option<Vec<u8>> {
        let mut bytes = self.as_bytes().to_vec();
        (bytes.len() <= size).then(|| {
            bytes.resize(size, 0);
            bytes
        })
    }
}

impl FromBytes for String {
    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let text = bytes.split(|byte| *byte == 0).next()?;
        Self::from_utf8(text.to_vec()).ok()
    }
}

impl ToBytes for Vec<u8> {
    fn to_bytes(&self, size: usize) -> Option<Vec<u8>> {
        (self.len() == size).then(|| self.clone())
    }
}

impl FromBytes for Vec<u8> {
    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Some(bytes.to_vec())
    }
}

/// Keys and values as Rust types. A per-CPU map has one value under each key on one CPU, which is the default
/// ([`LoadOptions`](crate::LoadOptions)); use [`lookup`](Map::lookup) and [`update`](Map::update) if there are more CPUs.
impl Map {
    /// The value under `key`, if there is one.
    ///
    /// ```
    /// use knobgate_hook::prelude::*;
    ///
    /// let mut hook = Hook::default();
    /// let watch = hook.attach_object(hook.root(), include_bytes!("../../../../examples/objects/watch.bpf.o"))?;
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
        self.update(&self.key(&key)?, &bytes, super::ANY).map_err(|error| Error::Map { map: def.name, error })
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
