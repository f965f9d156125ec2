//! Names of systemd's units.

/// The types of units that have cgroups: those with a `cgroup_context_offset` in their `UnitVTable` (src/core).
const TYPES: [&[u8]; 6] = [b"service", b"scope", b"slice", b"mount", b"socket", b"swap"];
/// `UNIT_NAME_MAX` (src/basic/unit-name.h)
const NAME_MAX: usize = 255;

/// The unit of a cgroup with this name; `None` if it is not that of a unit.
///
/// As `cg_path_decode_unit()` (src/basic/cgroup-util.c): systemd prefixes names that the kernel could use itself with an
/// underscore (`cg_escape()`), and the rest must be a valid unit (`unit_name_is_valid()`, src/basic/unit-name.c) that is
/// no template.
pub(crate) fn unit_of(component: &[u8]) -> Option<&[u8]> {
    let name = component.strip_prefix(b"_").unwrap_or(component);
    let dot = name.iter().rposition(|&byte| byte == b'.')?;
    let (prefix, suffix) = (&name[..dot], &name[dot + 1..]);
    let is_valid = |&byte: &u8| byte.is_ascii_alphanumeric() || b":-_.\\@".contains(&byte);
    let is_template = prefix.last() == Some(&b'@');
    let valid = name.len() <= NAME_MAX
        && !prefix.is_empty()
        && prefix[0] != b'@'
        && !is_template
        && prefix.iter().all(is_valid)
        && TYPES.contains(&suffix);
    valid.then_some(name)
}

/// The instance of a template, with its escapes: `web` of `systemd-nspawn@web.service`.
pub(crate) fn instance_of<'a>(unit: &'a [u8], template: &[u8]) -> Option<&'a [u8]> {
    unit.strip_prefix(template)?.strip_prefix(b"@")?.strip_suffix(b".service")
}

/// `name` with systemd's escapes decoded (`\x2d` is `-`), as far as the result cannot be mistaken for something else:
/// escapes of blanks, control characters, slashes, backslashes and of what is not ASCII stay.
pub(crate) fn unescape(name: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some((&byte, after)) = rest.split_first() {
        match escape(rest) {
            Some((byte, after)) => {
                decoded.push(byte);
                rest = after;
            }
            None => {
                decoded.push(byte);
                rest = after;
            }
        }
    }
    decoded
}

/// The character that the escape at the start of `text` stands for, and what comes after it.
fn escape(text: &[u8]) -> Option<(u8, &[u8])> {
    let (digits, after) = text.strip_prefix(b"\\x")?.split_first_chunk::<2>()?;
    let [high, low] = digits.map(|digit| char::from(digit).to_digit(16));
    let byte = u8::try_from(high? << 4 | low?).ok()?;
    (byte.is_ascii_graphic() && !b"/\\".contains(&byte)).then_some((byte, after))
}

/// The user of `user-UID.slice`.
pub(crate) fn user_of_slice(unit: &[u8]) -> Option<u32> {
    uid(unit.strip_prefix(b"user-")?.strip_suffix(b".slice")?)
}

/// The user of `user@UID.service`, that user's own service manager.
pub(crate) fn user_of_manager(unit: &[u8]) -> Option<u32> {
    uid(instance_of(unit, b"user")?)
}

fn uid(digits: &[u8]) -> Option<u32> {
    // `parse` takes a sign, too.
    digits.iter().all(u8::is_ascii_digit).then(|| str::from_utf8(digits).ok()?.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_told_from_other_names() {
        let units: [(&[u8], Option<&[u8]>); 13] = [
            (b"nginx.service", Some(b"nginx.service")),
            (b"getty@tty1.service", Some(b"getty@tty1.service")),
            (b"session-3.scope", Some(b"session-3.scope")),
            (b"dev-hugepages.mount", Some(b"dev-hugepages.mount")),
            // A name that begins with that of a controller, and one that begins with an underscore.
            (b"_cpu.service", Some(b"cpu.service")),
            (b"__x.service", Some(b"_x.service")),
            (b"getty@.service", None),
            (b"@x.service", None),
            (b".service", None),
            (b"service", None),
            (b"a b.service", None),
            (b"a.timer", None),
            (b"", None),
        ];
        for (component, expected) in units {
            assert_eq!(unit_of(component), expected, "{}", component.escape_ascii());
        }
        assert_eq!(unit_of(&[&[b'x'; 255][..], b".service"].concat()), None);
    }

    #[test]
    fn escapes_that_could_mislead_stay() {
        let cases: [(&[u8], &[u8]); 6] = [
            (br"web\x2d1", b"web-1"),
            (br"a\x2fb\x20c\x5cd", br"a\x2fb\x20c\x5cd"),
            (br"a\x1b\xc3\xa9", br"a\x1b\xc3\xa9"),
            (br"a\x2", br"a\x2"),
            (br"a\x\xzz\", br"a\x\xzz\"),
            (br"\x5cx2d", br"\x5cx2d"),
        ];
        for (name, expected) in cases {
            assert_eq!(unescape(name), expected, "{}", name.escape_ascii());
        }
    }

    #[test]
    fn users_are_decimal_numbers() {
        assert_eq!(user_of_slice(b"user-1000.slice"), Some(1000));
        assert_eq!(user_of_manager(b"user@1000.service"), Some(1000));
        for slice in
            [&b"user-.slice"[..], b"user-+1.slice", b"user-4294967296.slice", b"user-a.slice", b"user.slice"]
        {
            assert_eq!(user_of_slice(slice), None, "{}", slice.escape_ascii());
        }
    }
}
