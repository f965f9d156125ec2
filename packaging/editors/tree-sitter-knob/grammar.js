// The tree-sitter grammar of knobgate's policies, and of files for them to include. docs/language.md describes the language.
//
// A statement ends with its line, so the end of a line is a token. Inside brackets it means nothing. So there are two rules for each part
// of a condition: one for outside of brackets and one for inside, whose name ends in `_inside`. Both make the same nodes.
//
// A name without a separator looks like a word, so `_word` is a name, too.
//
// ./generate makes src/ from this file.

const RELATIONS = ["<", "<=", "==", "!=", ">=", ">"];

const ENGINES = [
  "docker", "podman", "containerd", "nerdctl", "crio", "runc", "crun", "lxc", "incus", "lxd", "nspawn", "libvirt", "systemd",
];

/// A character of a name that needs no `\`, and has no meaning in patterns.
const NAME_CHARACTER = "[^\\x00-\\x20\\x7f,#\"';()=<>&|{}\\[\\]*?\\\\]";
const NAME_ESCAPE = "\\\\(x[0-9A-Fa-f]{2}|[^A-Za-z0-9\\x00-\\x1f\\x7f])";
/// The same in `[…]`, which takes bytes of ASCII only, and no separator.
const CLASS_CHARACTER = "[!$%*+\\-0-9:?@A-Z\\[^_`a-z{}~]";
const CLASS_FIRST = "[$%*+\\-0-9:?@A-Z\\[_`a-z{}~]";
const CLASS =
  `\\[(!(${CLASS_CHARACTER}|${NAME_ESCAPE})|${CLASS_FIRST}|${NAME_ESCAPE})(${CLASS_CHARACTER}|${NAME_ESCAPE})*\\]`;

/// `rule`, and then ends of lines, which mean nothing here.
const loose = ($, rule) => seq(rule, optional($._newlines));

/// `open`, `members` with commas between them and perhaps after the last, and `close`.
const bracketed = ($, open, member, close) =>
  seq(
    loose($, open),
    optional(seq(member, repeat(seq(loose($, ","), member)), optional(loose($, ",")))),
    close,
  );

/// `{…}` of a pattern.
const alternatives = ($, open) =>
  seq(
    open,
    optional($._pieces),
    repeat(seq(token.immediate(","), optional($._pieces))),
    token.immediate("}"),
  );

/// The rules for conditions that `and`, `or`, `not` and parentheses make of `comparisons`. Their names begin with `name`.
const conditions = (name, comparisons) => {
  const rules = { [`_${name}_in_parens`]: ($) => seq(loose($, "("), $[`_${name}_inside`], ")") };
  for (const suffix of ["", "_inside"]) {
    const part = suffix === "" ? (_, rule) => rule : loose;
    const own = `_${name}${suffix}`;
    rules[own] = ($) =>
      choice(
        alias($[`${own}_or`], $.or),
        alias($[`${own}_and`], $.and),
        alias($[`${own}_not`], $.not),
        part($, alias($[`_${name}_in_parens`], $.parenthesized)),
        ...comparisons.map((rule) => (suffix === "" ? $[rule] : alias($[`_${rule}${suffix}`], $[rule]))),
      );
    // After these two words, the line may end anywhere.
    rules[`${own}_or`] = ($) => prec.left(1, seq(field("left", $[own]), loose($, "or"), field("right", $[own])));
    rules[`${own}_and`] = ($) => prec.left(2, seq(field("left", $[own]), loose($, "and"), field("right", $[own])));
    rules[`${own}_not`] = ($) => prec(3, seq(part($, "not"), $[own]));
  }
  return rules;
};

/// The two rules called `name`. `rule` gets a function for its parts, after which lines may end inside brackets.
const both = (name, rule) => ({
  [name]: ($) => rule($, (part) => part),
  [`_${name}_inside`]: ($) => rule($, (part) => loose($, part)),
});

const text_test = ($, part, operand) =>
  seq(
    part(operand),
    choice(part("matches"), part("contains"), seq(part("starts"), part("with"))),
    part($.text),
  );

module.exports = grammar({
  name: "knob",

  extras: ($) => [/[ \t]/, $.comment],

  word: ($) => $._word,

  inline: ($) => [$._operand],

  rules: {
    source_file: ($) => seq(repeat(choice($._newline, seq($._statement, $._newline))), optional($._statement)),

    comment: (_) => /#[^\n]*/,
    _newline: (_) => /\r?\n/,
    _newlines: ($) => repeat1($._newline),
    _word: (_) => /[A-Za-z_][A-Za-z0-9_]*/,

    _statement: ($) => choice($.header, $.mode, $.width, $.default, $.apply, $.include, $.rule, $.test),

    header: ($) => seq("policy", field("name", $.policy_name)),
    policy_name: (_) => /[A-Za-z0-9._-]+/,

    mode: (_) => seq("mode", choice("enforce", "audit")),

    width: ($) => seq("width", $.number, $._patterns),

    default: ($) => seq("default", choice("read", "write"), choice("allow", $._deny), optional($.log)),

    apply: ($) => seq("apply", "if", field("condition", $._selector)),

    include: ($) => seq("include", optional("preset"), field("name", $.text)),

    // Rules

    rule: ($) =>
      seq(
        choice(
          seq(choice("allow", $._deny, "ignore"), $._kinds, $._patterns),
          seq("set", $._kinds, $._patterns, "to", field("to", $.text)),
          seq("clamp", $._kinds, $._patterns, "to", field("to", choice($.range, $.ranges))),
        ),
        optional(seq("if", field("condition", $._condition))),
        optional($.log),
      ),
    _deny: ($) => seq("deny", optional(seq("(", $.errno, ")"))),
    _kinds: (_) => choice("read", "write", seq("read", "write"), seq("write", "read")),
    _patterns: ($) => seq($.pattern, repeat(seq(loose($, ","), $.pattern))),
    log: ($) => choice(seq("log", optional(seq("(", choice("all", seq($.number, "/", "s")), ")"))), "nolog"),
    errno: (_) => /E[A-Z0-9]+/,
    ranges: ($) => bracketed($, "[", alias($._range_inside, $.range), "]"),

    // Names of knobs, and patterns

    pattern: ($) =>
      seq(
        choice(
          $._word,
          $._name_part,
          alias($._name_escape, $.escape),
          alias($._first_wildcard, $.wildcard),
          alias($._first_class, $.class),
          alias($._first_alternatives, $.alternatives),
        ),
        optional($._pieces),
      ),
    _pieces: ($) =>
      repeat1(
        choice(
          $._more_of_name,
          alias($._more_of_name_escape, $.escape),
          alias($._more_wildcard, $.wildcard),
          alias($._more_class, $.class),
          alias($._more_alternatives, $.alternatives),
        ),
      ),
    knob: ($) =>
      seq(
        choice($._word, $._name_part, alias($._name_escape, $.escape)),
        repeat(choice($._more_of_name, alias($._more_of_name_escape, $.escape))),
      ),

    _name_part: (_) => new RegExp(`${NAME_CHARACTER}+`),
    _more_of_name: (_) => token.immediate(prec(1, new RegExp(`${NAME_CHARACTER}+`))),
    _name_escape: (_) => new RegExp(NAME_ESCAPE),
    _more_of_name_escape: (_) => token.immediate(new RegExp(NAME_ESCAPE)),
    _first_wildcard: (_) => /\*\*?|\?/,
    _more_wildcard: (_) => token.immediate(/\*\*?|\?/),
    _first_class: (_) => new RegExp(CLASS),
    _more_class: (_) => token.immediate(new RegExp(CLASS)),
    _first_alternatives: ($) => alternatives($, "{"),
    _more_alternatives: ($) => alternatives($, token.immediate("{")),

    // Conditions of rules

    ...conditions("condition", ["comparison", "membership", "text_test", "netns_test"]),

    ...both("comparison", ($, part) =>
      seq(
        part($._operand),
        choice(
          repeat1(seq(choice(...RELATIONS.map(part)), part($._operand))),
          seq(choice(part("=="), part("!=")), part($.list)),
        ),
      ),
    ),
    ...both("membership", ($, part) =>
      seq(part($._operand), part("in"), choice(part($.set), part($.list), $.range)),
    ),
    ...both("text_test", ($, part) => text_test($, part, $._operand)),
    ...both("netns_test", (_, part) => seq(part("netns"), choice(part("=="), part("!=")), part("host"))),

    _operand: ($) => choice($.number, $.text, $.field, $.value, $.element, $.call, $.masked),
    field: (_) => choice("pos", "uid", "gid", "comm"),
    value: (_) => choice("new", "old"),
    element: ($) => seq($.value, loose($, "["), field("index", loose($, $.number)), "]"),
    call: ($) => seq(choice("count", "each", "ranges"), loose($, "("), loose($, $.value), ")"),
    masked: ($) => seq(choice($.value, $.element, $.call), "&", field("mask", $.number)),
    set: ($) => bracketed($, "{", $._member, "}"),
    list: ($) => bracketed($, "[", $._member, "]"),
    _member: ($) => choice(loose($, $.number), loose($, $.text), alias($._range_inside, $.range)),
    ...both("range", ($, part) =>
      choice(seq(part($.number), part(".."), optional(part($.number))), seq(part(".."), optional(part($.number)))),
    ),

    // Selectors

    ...conditions("selector", ["name_comparison", "name_membership", "name_test", "engine_test"]),

    ...both("name_comparison", ($, part) =>
      seq(part($._name), repeat1(seq(choice(part("=="), part("!=")), part($._name)))),
    ),
    ...both("name_membership", ($, part) => seq(part($._name), part("in"), part($.names))),
    ...both("name_test", ($, part) => text_test($, part, $._name)),
    ...both("engine_test", ($, part) =>
      seq(
        part("engine"),
        choice(seq(choice(part("=="), part("!=")), part($.engine)), seq(part("in"), part($.engines))),
      ),
    ),

    _name: ($) => choice($.name, $.label, $.text),
    name: (_) => choice("cgroup", "unit", "container", "pod", "namespace", "image"),
    label: ($) => seq("label", loose($, "("), field("key", loose($, $.text)), ")"),
    names: ($) => bracketed($, "{", loose($, $.text), "}"),
    engine: (_) => choice(...ENGINES),
    engines: ($) => bracketed($, "{", loose($, $.engine), "}"),

    // Tests

    test: ($) =>
      seq(
        "test",
        field("name", $.text),
        "{",
        repeat(choice($._newline, seq($.step, $._newline))),
        optional($.step),
        "}",
      ),
    step: ($) =>
      seq(
        choice(seq("read", $.knob), seq("write", $.knob, field("written", $.text))),
        repeat($._property),
        "=>",
        field("expected", $.verdict),
      ),
    _property: ($) =>
      choice(
        seq(choice("old", "comm"), $.text),
        seq(choice("pos", "uid", "gid"), $.number),
        seq("netns", choice("host", "other")),
      ),
    verdict: ($) => choice("allow", seq("deny", optional($.errno)), seq("set", $.text)),

    // Literals

    number: (_) => /-?(0[xX][0-9A-Fa-f](_?[0-9A-Fa-f])*|0(_?[0-7])*|[1-9](_?[0-9])*)/,

    text: ($) => seq('"', repeat(choice($._text_part, alias($._text_escape, $.escape))), token.immediate('"')),
    _text_part: (_) => token.immediate(prec(1, /[^"\\\n]+/)),
    _text_escape: (_) => token.immediate(/\\(["\\ntr0]|x[0-9A-Fa-f]{2})/),
  },
});
