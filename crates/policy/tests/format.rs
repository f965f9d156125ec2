//! Layout: how it looks, and what is left alone.

use knobgate_policy::{Source, format};

fn formatted(text: &str) -> String {
    format(&Source::new("x.knob", text)).unwrap_or_else(|errors| panic!("{errors:#?}\n{text}"))
}

#[test]
fn white_space_is_normalised() {
    insta::assert_snapshot!(formatted(
        "\u{feff}

# The front end's machines.
policy\tweb-tier   # tier 1


mode   audit
default read  allow
default write deny ( EROFS )  log ( 1_0 / s )



deny  write kernel.core_pattern ,kernel.modprobe          log( all )
allow write net.ipv4.tcp_{rmem,wmem}   if 4096<=new [0]<= new[ 1 ]<=6_291_456   # bytes
allow write net/ipv4/conf/*/rp_filter  if new in{1,0x2}  # strict, loose
clamp write net.core.somaxconn         to 128 .. 65535
clamp write a.b to[ 1 .. 2,..,3.. ] if (not(new==1)) log
set   write vm.swappiness              to \"1\\x30\\x07\"
# Several lines.

allow write a.b,   # one
      # two

  c.d if new in {  1,
2,   # three

      # four
  3,} and
 (old == 1 or
old == count( new ))
# Before the test.
test \"a test\" {   # opens

    write kernel.core_pattern \"|/tmp/x\" old  \"4096\"  => deny EPERM # no

  # before the end
}
test \"short\" { read   kernel.ostype => allow }
test \"none\" {}


# The end.


"
    ));
}

#[test]
fn line_ends_are_kept() {
    assert_eq!(formatted("policy x\r\nallow  read a.b # c\r\n"), "policy x\r\nallow read a.b  # c\r\n");
    assert_eq!(formatted("policy x\nallow  read a.b"), "policy x\nallow read a.b\n");
}

#[test]
fn a_text_with_syntax_errors_is_not_formatted() {
    assert!(format(&Source::new("x", "policy x\nalow read a.b\n")).is_err());
    assert!(format(&Source::from_bytes("x", b"policy x\n#\xff\n")).is_err());
}
