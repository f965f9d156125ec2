//! Keys and values of maps as Rust types.

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
