//! Whether a knob holds the value that a file gives it.

use std::collections::BTreeSet;

use knobgate_policy::{KnobName, KnobPattern, Normalisation, known_normalisation, parse_numbers};

/// Whether `running`, as the knob prints it, is what it stores if `written` is written to it. Two values that are written can
/// be compared as well.
///
/// Numbers are compared by value, whatever their notation and the white space around them. A knob with several numbers keeps the
/// ones for which nothing is written, and a knob ignores more numbers than it has: only those that both have are compared. Sets
/// of numbers (`1-3,8`) are compared as sets, and CPU masks as masks. Anything else, and what the knob stores as text, is a text,
/// in which the amount of white space does not count; or a set of words, if the knob prints those in its own order.
pub fn is_same_value(knob: &KnobName, written: &[u8], running: &[u8]) -> bool {
    let normalisation =
        KnobPattern::parse(knob.to_string()).ok().and_then(|pattern| known_normalisation(&pattern));
    let (written, running) = (words(written), words(running));
    if normalisation == Some(Normalisation::CpuMask) {
        return match (mask(&written), mask(&running)) {
            (Some(written), Some(running)) => written == running,
            _ => written == running,
        };
    }
    if normalisation == Some(Normalisation::Text) {
        return written == running;
    }
    if normalisation == Some(Normalisation::WordSet) {
        // `proc_do_sys_info` (kernel/sysctl.c) splits at commas; others take blanks alone.
        let separator: &[u8] = if knob.as_bytes().ends_with(b"_sys_info") { b"," } else { b"" };
        return word_set(&written, separator) == word_set(&running, separator);
    }
    if let (Some(written), Some(running)) = (numbers(&written), numbers(&running)) {
        let mut both = written.iter().zip(&running);
        return both
            .all(|(&written, &running)| stored(written, normalisation) == stored(running, normalisation));
    }
    if let (Some(written), Some(running)) = (set(&written), set(&running)) {
        return written == running;
    }
    written == running
}

/// What is between white space, up to the first NUL.
fn words(value: &[u8]) -> Vec<&[u8]> {
    let text = value.split(|&byte| byte == 0).next().unwrap_or_default();
    text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).collect()
}

/// What is between white space and these separators.
fn word_set<'a>(words: &[&'a [u8]], separators: &[u8]) -> BTreeSet<&'a [u8]> {
    let words = words.iter().flat_map(|word| word.split(|byte| separators.contains(byte)));
    words.filter(|word| !word.is_empty()).collect()
}

/// The numbers, if there are some and nothing else.
fn numbers(words: &[&[u8]]) -> Option<Vec<i128>> {
    // One by one: there is a limit to the numbers of a policy's value.
    let number = |word: &&[u8]| match parse_numbers(word).ok()?[..] {
        [number] => Some(number.get()),
        _ => None,
    };
    let numbers: Vec<i128> = words.iter().map(number).collect::<Option<_>>()?;
    (!numbers.is_empty()).then_some(numbers)
}

/// What a handler stores for a number.
fn stored(number: i128, normalisation: Option<Normalisation>) -> i128 {
    match normalisation {
        Some(Normalisation::Booleans) => i128::from(number != 0),
        Some(Normalisation::PowersOfTwo { least }) => match u64::try_from(number) {
            Ok(0) => least.into(),
            Ok(positive) => positive.checked_next_power_of_two().map_or(number, i128::from).max(least.into()),
            Err(_) => number,
        },
        _ => number,
    }
}

/// A mask in hexadecimal without its leading zeros and commas.
fn mask(words: &[&[u8]]) -> Option<Vec<u8>> {
    let [word] = words else { return None };
    let digits: Vec<u8> = word.iter().filter(|&&byte| byte != b',').map(u8::to_ascii_lowercase).collect();
    let significant = digits.iter().position(|&digit| digit != b'0').unwrap_or(digits.len());
    digits.iter().all(u8::is_ascii_hexdigit).then(|| digits[significant..].to_vec())
}

/// The ranges of a set as `proc_do_large_bitmap` reads and prints it (kernel/sysctl.c), sorted and merged.
fn set(words: &[&[u8]]) -> Option<Vec<(u32, u32)>> {
    let [word] = words else { return None };
    let mut ranges = Vec::new();
    for range in str::from_utf8(word).ok()?.split(',') {
        let (low, high) = range.split_once('-').unwrap_or((range, range));
        let (low, high): (u32, u32) = (low.parse().ok()?, high.parse().ok()?);
        if low > high {
            return None;
        }
        ranges.push((low, high));
    }
    ranges.sort_unstable();
    let mut merged: Vec<(u32, u32)> = Vec::new();
    for (low, high) in ranges {
        match merged.last_mut() {
            Some(last) if low <= last.1.saturating_add(1) => last.1 = last.1.max(high),
            _ => merged.push((low, high)),
        }
    }
    Some(merged)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_compared_as_the_kernel_stores_and_prints_them() {
        for (knob, written, running, expected) in [
            ("net.core.somaxconn", "0x1000", "4096\n", true),
            ("net.core.somaxconn", "010", "8\n", true),
            ("net.core.somaxconn", "4096", "4097\n", false),
            ("net.ipv4.tcp_rmem", "4096 131072  6291456", "4096\t131072\t6291456\n", true),
            ("net.ipv4.tcp_rmem", "4096 131072 6291456", "4096\t131072\t6291457\n", false),
            // Only the first number is written.
            ("kernel.printk", "3", "3\t4\t1\t7\n", true),
            ("kernel.printk", "4", "3\t4\t1\t7\n", false),
            ("net.ipv4.ip_forward", "1 2", "1\n", true),
            ("kernel.sched_rt_runtime_us", "-1", "-1\n", true),
            ("fs.file-max", "9223372036854775807", "9223372036854775807\n", true),
            ("kernel.core_pattern", "|/bin/x  %p", "|/bin/x %p\n", true),
            ("kernel.core_pattern", "core", "core.%p\n", false),
            ("kernel.modprobe", "", "\n", true),
            ("kernel.modprobe", "", "/sbin/modprobe\n", false),
            ("kernel.hostname", "10", "0x0a\n", false),
            // Text against number.
            ("kernel.domainname", "(none)", "0\n", false),
            ("net.ipv4.ip_local_reserved_ports", "8080,8081,9148", "8080-8081,9148\n", true),
            ("net.ipv4.ip_local_reserved_ports", "8080,8082", "8080-8082\n", false),
            ("net.ipv4.ip_local_reserved_ports", "9,1-5,3-7", "1-7,9\n", true),
            ("net.ipv4.ip_local_reserved_ports", "", "\n", true),
            ("net.core.rps_default_mask", "0000000F", "f\n", true),
            ("net.core.rps_default_mask", "1,00000000", "00000001,00000000\n", true),
            // Hexadecimal, without a prefix.
            ("net.core.rps_default_mask", "10", "16\n", false),
            ("vm.hugetlb_optimize_vmemmap", "5", "1\n", true),
            ("fs.pipe-max-size", "5000", "8192\n", true),
            ("fs.pipe-max-size", "1", "4096\n", true),
            // Both are written.
            ("fs.pipe-max-size", "5000", "5000\n", true),
            ("fs.pipe-max-size", "5000", "9000\n", false),
            ("net.ipv4.tcp_allowed_congestion_control", "bbr reno", "reno bbr\n", true),
            ("net.ipv4.tcp_allowed_congestion_control", "bbr reno", "reno\n", false),
            ("net.ipv4.tcp_allowed_congestion_control", "bbr,reno", "reno bbr\n", false),
            ("kernel.seccomp.actions_logged", "trap errno", "errno trap\n", true),
            ("kernel.panic_sys_info", "mem,tasks", "tasks,mem\n", true),
            ("net.core.default_qdisc", "a b", "b a\n", false),
            ("net.unix.max_dgram_qlen", "99999999999999999999999", "10\n", false),
        ] {
            let name = KnobName::parse(knob).unwrap();
            let found = is_same_value(&name, written.as_bytes(), running.as_bytes());
            assert_eq!(found, expected, "{knob}: {written:?}, {running:?}");
        }
    }

    #[test]
    fn a_value_is_the_same_as_itself() {
        for value in ["", "\n", "\0", "a\0b", "1-", "-", "1 x", "\u{fe}", "0x", "5-3", "65536-1"] {
            let name = KnobName::parse("net.core.x").unwrap();
            assert!(is_same_value(&name, value.as_bytes(), value.as_bytes()), "{value:?}");
        }
    }
}
