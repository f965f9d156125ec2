//! Formats: `bpf_snprintf`, whose results were compared with those of Linux 6.18.44.

use knobgate_bpf::{AluOp, Assembler, Reg, Size, helper_ids};

use super::{allow, frozen, keep, load, number, on_write, rejection, results};

/// The offset of texts in the results, after what the helper returned.
const TEXT: u32 = 8;

/// A program that prints `format` with `arguments`: what `bpf_snprintf` returned, and the 24 bytes it printed to.
fn printed(format: &str, arguments: &[i64], size: i32) -> (i64, Vec<u8>) {
    let mut asm = Assembler::new();
    for (index, argument) in arguments.iter().enumerate() {
        asm.load_imm64(Reg::R1, *argument as u64);
        asm.store(Size::U64, Reg::R10, -96 + 8 * index as i16, Reg::R1);
    }
    asm.load_map_value(Reg::R1, 0, TEXT);
    asm.mov(Reg::R2, size);
    asm.load_map_value(Reg::R3, 1, 0);
    asm.mov(Reg::R4, Reg::R10);
    asm.alu(AluOp::Add, Reg::R4, -96);
    asm.mov(Reg::R5, 8 * arguments.len() as i32);
    asm.call_helper(helper_ids::SNPRINTF);
    keep(&mut asm, Reg::R0, 0);
    allow(&mut asm);
    let format = format!("{format}\0");
    let program = load(asm, vec![results(TEXT + 24), frozen(format.as_bytes())]).expect("loads");
    on_write(&program, b"", b"x").unwrap_or_else(|fault| panic!("{format}: {fault}"));
    let value = program.maps()[0].lookup(&[0; 4]).expect("one value");
    let text = value[TEXT as usize..].split(|byte| *byte == 0).next().unwrap_or_default().to_vec();
    (number(&program.maps()[0], 0) as i64, text)
}

/// A text in the frozen map after the format, which formats read through pointers.
const DATA: &[u8] = b"text\0\xc0\xa8\x01\x7f\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\0";

/// Prints one pointer to `DATA[offset..]`, into `size` bytes.
fn printed_pointer(format: &str, offset: u32, size: i32) -> (i64, Vec<u8>) {
    let mut asm = Assembler::new();
    asm.load_map_value(Reg::R1, 2, offset);
    asm.store(Size::U64, Reg::R10, -8, Reg::R1);
    asm.load_map_value(Reg::R1, 0, TEXT);
    asm.mov(Reg::R2, size);
    asm.load_map_value(Reg::R3, 1, 0);
    asm.mov(Reg::R4, Reg::R10);
    asm.alu(AluOp::Add, Reg::R4, -8);
    asm.mov(Reg::R5, 8);
    asm.call_helper(helper_ids::SNPRINTF);
    keep(&mut asm, Reg::R0, 0);
    allow(&mut asm);
    let format = format!("{format}\0");
    let program =
        load(asm, vec![results(TEXT + 64), frozen(format.as_bytes()), frozen(DATA)]).expect("loads");
    on_write(&program, b"", b"x").unwrap_or_else(|fault| panic!("{format}: {fault}"));
    let value = program.maps()[0].lookup(&[0; 4]).expect("one value");
    let text = value[TEXT as usize..].split(|byte| *byte == 0).next().unwrap_or_default().to_vec();
    (number(&program.maps()[0], 0) as i64, text)
}

#[test]
fn pointers_are_followed_to_strings_and_addresses_of_the_internet() {
    for (format, offset, text) in [
        ("%s", 0, "text"),
        ("%6s|", 0, "  text|"),
        ("%-6s|", 0, "text  |"),
        ("%pks", 0, "text"),
        ("%pus", 0, ""),
        ("%pI4", 5, "192.168.1.127"),
        ("%pi4", 5, "192.168.001.127"),
        ("%pI6", 9, "2001:0db8:0000:0000:0000:0000:0000:0001"),
        ("%pi6", 9, "20010db8000000000000000000000001"),
        // A width is ignored, and so are letters and digits after it.
        ("%20pI4abc4|", 5, "192.168.1.127|"),
    ] {
        let returned = text.len() as i64 + 1;
        assert_eq!(printed_pointer(format, offset, 64), (returned, text.as_bytes().to_vec()), "{format}");
    }
    assert_eq!(printed_pointer("%pI4", 5, 8), (14, b"192.168".to_vec()), "as much as there is room for");
}

#[test]
fn a_pointer_without_an_address_is_printed_as_the_kernel_prints_one_that_it_cannot_hash() {
    for format in ["%p", "%pK", "%px", "%ps"] {
        assert_eq!(printed_pointer(format, 0, 64), (17, b"(____ptrval____)".to_vec()), "{format}");
    }
}

#[test]
fn numbers_are_printed_as_addresses() {
    for (format, argument, text) in [
        ("%p", 0, "0000000000000000"),
        ("%p", -22, "ffffffffffffffea"),
        ("%p", 5, "(____ptrval____)"),
        ("%px", 0xabc, "0000000000000abc"),
        ("%5px|", 0xabc, "  abc|"),
        ("%ps", 0xabc, "0xabc"),
        ("%8pS", 0xabc, "   0xabc"),
        ("%pB", 0xabc, "0xabc"),
        ("%pI4", 0, "0.0.0.0"),
        ("%pks", 0, ""),
    ] {
        let returned = text.len() as i64 + 1;
        assert_eq!(printed(format, &[argument], 24), (returned, text.as_bytes().to_vec()), "{format}");
    }
}

#[test]
fn text_that_is_skipped_for_want_of_room_is_not_skipped_among_the_arguments() {
    // The text of the second argument is "0x0", and read as the number.
    assert_eq!(printed("abcd%pB%d", &[0, 7], 4), (4 + 7 + 1, b"abc".to_vec()));
}

#[test]
fn arguments_that_do_not_fit_are_an_error() {
    let mut asm = Assembler::new();
    for index in 0..3 {
        asm.load_map_value(Reg::R1, 2, 0);
        asm.store(Size::U64, Reg::R10, -24 + 8 * index, Reg::R1);
    }
    asm.load_map_value(Reg::R1, 0, TEXT);
    asm.mov(Reg::R2, 24);
    asm.load_map_value(Reg::R3, 1, 0);
    asm.mov(Reg::R4, Reg::R10);
    asm.alu(AluOp::Add, Reg::R4, -24);
    asm.mov(Reg::R5, 24);
    asm.call_helper(helper_ids::SNPRINTF);
    keep(&mut asm, Reg::R0, 0);
    allow(&mut asm);
    let maps = vec![results(TEXT + 24), frozen(b"%s%s%s\0"), frozen(&[b'a'; 700])];
    let program = load(asm, maps).expect("loads");
    on_write(&program, b"", b"x").expect("runs");
    assert_eq!(number(&program.maps()[0], 0) as i64, -28);
}

#[test]
fn bytes_above_127_are_text_on_kernels_that_allow_it() {
    assert_eq!(printed("\u{e4}%d", &[1], 24), (4, "\u{e4}1".as_bytes().to_vec()));
}

#[test]
fn snprintf_prints_what_the_kernel_prints() {
    for (format, arguments, returned, text) in [
        ("", &[][..], 1, ""),
        ("%d %d", &[-5, 7], 5, "-5 7"),
        ("%u", &[-1], 11, "4294967295"),
        ("%ld|%llu", &[-1, -1], 24, "-1|18446744073709551615"),
        ("%x %X", &[255, 255], 6, "ff FF"),
        ("%5d|%-5d|%05d", &[-3, 3, -3], 18, "   -3|3    |-0003"),
        ("%+d % d %+d", &[1, 1, -1], 9, "+1  1 -1"),
        ("100%% %c", &[65], 7, "100% A"),
        ("%d", &[1, 2, 3], 2, "1"),
        ("%s!", &[0], 2, "!"),
    ] {
        assert_eq!(printed(format, arguments, 24), (returned, text.as_bytes().to_vec()), "{format:?}");
    }
    assert_eq!(printed("%d", &[123_456], 4), (7, b"123".to_vec()), "as much as there is room for");
}

#[test]
fn strings_are_printed_through_pointers_to_them() {
    let mut asm = Assembler::new();
    asm.load_map_value(Reg::R1, 1, 3);
    asm.store(Size::U64, Reg::R10, -8, Reg::R1);
    asm.load_map_value(Reg::R1, 0, TEXT);
    asm.mov(Reg::R2, 8);
    asm.load_map_value(Reg::R3, 1, 0);
    asm.mov(Reg::R4, Reg::R10);
    asm.alu(AluOp::Add, Reg::R4, -8);
    asm.mov(Reg::R5, 8);
    asm.call_helper(helper_ids::SNPRINTF);
    allow(&mut asm);
    let program = load(asm, vec![results(TEXT + 8), frozen(b"%s\0abc\0")]).expect("loads");
    on_write(&program, b"", b"x").expect("runs");
    assert_eq!(&program.maps()[0].lookup(&[0; 4]).expect("one value")[8..12], b"abc\0");
}

#[test]
fn invalid_formats_are_rejected() {
    for format in
        ["%y\0", "%5%\0", "%hd\0", "%d %d\0", "%sx\0", "%lc\0", "%pI5\0", "%pk\0", "%p5\0", "\x01\0", "%"]
    {
        let mut asm = Assembler::new();
        asm.store_imm(Size::U64, Reg::R10, -8, 1);
        asm.load_map_value(Reg::R1, 0, TEXT);
        asm.mov(Reg::R2, 8);
        asm.load_map_value(Reg::R3, 1, 0);
        asm.mov(Reg::R4, Reg::R10);
        asm.alu(AluOp::Add, Reg::R4, -8);
        asm.mov(Reg::R5, 8);
        asm.call_helper(helper_ids::SNPRINTF);
        allow(&mut asm);
        let message = rejection(asm, vec![results(TEXT + 8), frozen(format.as_bytes())]);
        assert!(
            message.ends_with("Invalid format string") || message.ends_with("string is not zero-terminated"),
            "{format:?}: {message}"
        );
    }
}
