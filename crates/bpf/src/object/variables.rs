//! Sets variables before a program is loaded, constants among them (`const volatile` in `.rodata`).

use super::kconfig::{integer, integer_bytes, is_char};
use super::maps::Map;
use super::{Object, ObjectError, ObjectVariable};
use crate::btf_types::{INT, INT_IS_BOOL, INT_IS_SIGNED, Type, Types};

impl Object {
    /// Sets what a global or static variable starts with. All programs that are extracted afterwards have it.
    ///
    /// The type of the variable, from its BTF, says how `value` is written:
    ///
    /// | type | value |
    /// | --- | --- |
    /// | integer | a number in decimal, or in hexadecimal with `0x`; a `char` also as `'a'` |
    /// | `bool` | `true`, `false`, 1 or 0 |
    /// | enum | the name of a value, or a number |
    /// | array of `char` | text, which is followed by a NUL |
    /// | other array | its elements with commas between them; those that are left out are 0 |
    /// | anything else | `hex:` and two digits for each byte |
    ///
    /// ```no_run
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use knobgate_bpf::Object;
    ///
    /// let mut object = Object::read(&std::fs::read("mine.bpf.o")?)?;
    /// object.set("limit", "65535")?;
    /// let program = object.program(None)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ObjectError::NoSuchVariable`], [`ObjectError::Value`].
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), ObjectError> {
        let found = self.variables.iter().find(|variable| variable.name == name);
        let variable = found.ok_or_else(|| ObjectError::NoSuchVariable {
            name: name.to_owned(),
            variables: self.variables.iter().map(|variable| variable.name.clone()).collect(),
        })?;
        let ObjectVariable { section, offset, size, .. } = variable;
        let types = self.types();
        let of_type = types.variables(section).find(|(found, _)| *found == name).map(|(_, id)| id);
        let of_type = of_type.filter(|id| types.size(*id).is_some_and(|bytes| bytes as usize == *size));
        let unfit = |what: String| ObjectError::Value {
            name: name.to_owned(),
            of_type: match of_type {
                Some(id) => format!("{}, {size} bytes", types.describe(id)),
                None => format!("{size} bytes of an unknown type"),
            },
            value: value.to_owned(),
            what,
        };
        let bytes = bytes_of(&types, of_type, *size, value).map_err(unfit)?;
        let of_section = |map: &Map| map.address.is_none() && map.name == *section;
        let map = self.maps.iter().position(of_section);
        let map = map.ok_or_else(|| unfit(format!("there is no section {section}")))?;
        if let Err(what) = &self.maps[map].def {
            return Err(unfit(what.clone()));
        }
        let place = *offset..offset + size;
        if let Ok(def) = &mut self.maps[map].def {
            let contents = def.contents.pop();
            let mut whole = contents.map_or_else(|| vec![0; def.value_size as usize], |(_, value)| value);
            if let Some(place) = whole.get_mut(place) {
                place.copy_from_slice(&bytes);
            }
            def.contents.push((vec![0; 4], whole));
        }
        Ok(())
    }
}

/// The bytes of a value.
fn bytes_of(types: &Types<'_>, of_type: Option<u32>, size: usize, value: &str) -> Result<Vec<u8>, String> {
    let of = of_type.and_then(|id| types.stripped(id)).map(|(_, of)| of);
    let element = of.and_then(Type::array).and_then(|(element, count)| {
        let (_, of) = types.stripped(element)?;
        Some((of, types.size(element)? as usize, count as usize))
    });
    if let Some((element, _, count)) = element
        && is_char_of_text(types, element)
    {
        return text(value, count);
    }
    if let Some(digits) = value.strip_prefix("hex:") {
        return hex(digits, size);
    }
    if let Some((element, element_size, count)) = element {
        return list(types, element, element_size, count, value);
    }
    of.map_or_else(
        || Err("write its bytes as hex:00ff…, or compile with -g, which says what it is".to_owned()),
        |of| scalar(types, of, size, value),
    )
}

/// Whether an array of this type is text. `unsigned char` is a number.
fn is_char_of_text(types: &Types<'_>, of: Type<'_>) -> bool {
    is_char(of) && types.name(of) == "char"
}

fn scalar(types: &Types<'_>, of: Type<'_>, size: usize, value: &str) -> Result<Vec<u8>, String> {
    if of.is_enum() && matches!(size, 1 | 2 | 4 | 8) {
        let named = types.enumerators(of).find(|(name, _)| *name == value).map(|(_, number)| number);
        let bytes = match named {
            Some(number) => integer_bytes(number, size, of.kind_flag),
            // Compilers before LLVM 15 do not say whether it has a sign.
            None => integer(value, size, false).or_else(|| integer(value, size, true)),
        };
        return bytes.ok_or_else(|| {
            let names: Vec<_> = types.enumerators(of).map(|(name, _)| name).collect();
            format!("it is one of {}, or a number that fits", names.join(", "))
        });
    }
    if of.kind != INT || !matches!(size, 1 | 2 | 4 | 8 | 16) {
        return Err(format!("write its {size} bytes as hex:00ff…"));
    }
    let encoding = of.int_encoding();
    if encoding & INT_IS_BOOL != 0 {
        let number: u128 = match value {
            "true" | "1" => Ok(1),
            "false" | "0" => Ok(0),
            _ => Err("it is true or false".to_owned()),
        }?;
        return Ok(number.to_le_bytes()[..size].to_vec());
    }
    if let Some([b'\'', character, b'\'']) = value.as_bytes().first_chunk::<3>().filter(|_| value.len() == 3)
        && size == 1
    {
        return Ok(vec![*character]);
    }
    let signed = encoding & INT_IS_SIGNED != 0;
    integer(value, size, signed).ok_or_else(|| {
        let bits = size as u32 * 8;
        match signed {
            true => format!("it is a number from -2^{} to 2^{}-1", bits - 1, bits - 1),
            false => format!("it is a number from 0 to 2^{bits}-1"),
        }
    })
}

fn text(value: &str, count: usize) -> Result<Vec<u8>, String> {
    let mut bytes = value.as_bytes().to_vec();
    if bytes.len() >= count {
        let room = count.saturating_sub(1);
        return Err(format!("there is room for {room} bytes and a NUL, and it has {}", bytes.len()));
    }
    bytes.resize(count, 0);
    Ok(bytes)
}

fn list(
    types: &Types<'_>,
    element: Type<'_>,
    size: usize,
    count: usize,
    value: &str,
) -> Result<Vec<u8>, String> {
    let elements: Vec<_> = value.split(',').map(str::trim).collect();
    if elements.len() > count {
        return Err(format!("it has {count} elements, and these are {}", elements.len()));
    }
    let mut bytes = Vec::new();
    for one in elements {
        bytes.extend(scalar(types, element, size, one).map_err(|what| format!("\"{one}\": {what}"))?);
    }
    bytes.resize(count * size, 0);
    Ok(bytes)
}

fn hex(digits: &str, size: usize) -> Result<Vec<u8>, String> {
    let pairs = digits.as_bytes().chunks(2);
    let bytes = pairs.map(|pair| match pair {
        [high, low] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
            let digit = |digit: &u8| char::from(*digit).to_digit(16).unwrap_or(0) as u8;
            Some(digit(high) << 4 | digit(low))
        }
        _ => None,
    });
    let bytes: Option<Vec<u8>> = bytes.collect();
    match bytes {
        Some(bytes) if bytes.len() == size => Ok(bytes),
        Some(bytes) => Err(format!("these are {} bytes", bytes.len())),
        None => Err("after hex: there are two digits for each byte".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::btf::{self, Strings, blob};
    use crate::btf_types::ENUM;

    /// What a value becomes in a type that is called `t`.
    fn set(kind: u32, size: u32, words: &[u32], value: &str) -> Result<Vec<u8>, String> {
        let (mut types, mut strings) = (btf::Types::new(), Strings::new());
        let name = strings.add("t");
        let id = types.add(name, kind, if kind == ENUM { words.len() as u32 / 2 } else { 0 }, size, words);
        let bytes = blob(&types, &strings);
        let types = Types::read(&bytes).expect("BTF");
        bytes_of(&types, Some(id), size as usize, value)
    }

    #[test]
    fn a_value_has_as_many_bytes_as_its_type() {
        let integer = |size: u32, encoding: u32, value: &str| {
            set(INT, size, &[(encoding << 24) | (size * 8)], value).map(|bytes| (bytes.len(), bytes[0]))
        };
        assert_eq!(integer(1, INT_IS_BOOL, "true"), Ok((1, 1)));
        assert_eq!(integer(4, INT_IS_BOOL, "true"), Ok((4, 1)));
        assert_eq!(integer(4, INT_IS_BOOL, "0"), Ok((4, 0)));
        assert_eq!(integer(16, 0, "5"), Ok((16, 5)));
        assert_eq!(integer(16, INT_IS_SIGNED, "-5"), Ok((16, 251)));
        assert_eq!(set(ENUM, 4, &[1, 7], "t"), Ok(vec![7, 0, 0, 0]));
    }

    #[test]
    fn types_of_impossible_sizes_are_written_as_bytes() {
        for size in [0, 3, 16, 32] {
            for value in ["t", "7"] {
                let error = set(ENUM, size, &[1, 7], value);
                assert_eq!(error, Err(format!("write its {size} bytes as hex:00ff…")));
            }
        }
    }
}
