//! The columns of the matrix and their values, as SQL of each system.

/// How two systems' texts of a value are compared, always by a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// As numbers.
    Number,
    /// As numbers; PostgreSQL's booleans as 0 and 1.
    Bool,
    /// As doubles.
    Double,
    /// As singles.
    Single,
    /// Byte by byte.
    Bytes,
    /// By the bytes of the text in UTF-8.
    Text,
    /// As ISO 8601.
    Time,
    /// As JSON documents, by their meaning.
    Json,
    /// By text and, where both sides are SQLite, by storage class.
    Loose,
}

/// A value: what it is called in the documentation, and its expression in each system; empty where that has none.
pub type Case = (&'static str, [&'static str; 3]);

/// A field: its type in PostgreSQL, MariaDB and SQLite; empty: none is paired with it.
pub struct Column {
    pub name: &'static str,
    pub types: [&'static str; 3],
    pub shown: Shown,
    pub cases: &'static [Case],
}

const fn column(name: &'static str, types: [&'static str; 3], shown: Shown, cases: &'static [Case]) -> Column {
    Column { name, types, shown, cases }
}

/// What has to be there before the tables.
pub const POSTGRES_TYPES: &str =
    "CREATE EXTENSION citext; CREATE EXTENSION hstore; CREATE TYPE mood AS ENUM ('b', 'a', 'it''s', '');
    CREATE DOMAIN positive AS numeric(8,2) CHECK (value > 0); CREATE TYPE pair AS (a int, b text)";

#[rustfmt::skip]
pub const COLUMNS: &[Column] = &[
    column("i2", ["smallint", "smallint", "INTEGER"], Shown::Number, &[
        ("smallest", ["-32768", "-32768", "-32768"]),
        ("largest", ["32767", "32767", "32767"]),
        ("beyond the column", ["", "", "32768"]),
    ]),
    column("i4", ["integer", "int", "INTEGER"], Shown::Number, &[
        ("smallest", ["-2147483648", "-2147483648", "-2147483648"]),
        ("largest", ["2147483647", "2147483647", "2147483647"]),
        ("beyond the column", ["", "", "2147483648"]),
    ]),
    column("i8", ["bigint", "bigint", "INTEGER"], Shown::Number, &[
        ("smallest", ["'-9223372036854775808'", "-9223372036854775808", "-9223372036854775808"]),
        ("largest", ["9223372036854775807", "9223372036854775807", "9223372036854775807"]),
        ("2^53 + 1", ["9007199254740993", "9007199254740993", "9007199254740993"]),
        ("text", ["", "", "'abc'"]),
        ("a fraction", ["", "", "1.5"]),
        ("bytes", ["", "", "x'01'"]),
    ]),
    column("u8", ["numeric(20,0)", "bigint unsigned", "DECIMALTEXT"], Shown::Number, &[
        ("zero", ["0", "0", "'0'"]),
        ("2^63", ["9223372036854775808", "9223372036854775808", "'9223372036854775808'"]),
        ("2^64 - 1", ["18446744073709551615", "18446744073709551615", "'18446744073709551615'"]),
        ("2^64", ["18446744073709551616", "", "'18446744073709551616'"]),
        ("below zero", ["-1", "", "'-1'"]),
        ("a fraction", ["", "", "'0.5'"]),
    ]),
    column("bool", ["boolean", "tinyint(1)", "BOOLEAN"], Shown::Bool, &[
        ("true", ["true", "1", "1"]),
        ("false", ["false", "0", "0"]),
        ("2", ["", "2", "2"]),
    ]),
    column("n38", ["numeric(38,10)", "decimal(38,10)", "DECIMALTEXT"], Shown::Number, &[
        ("largest", ["9999999999999999999999999999.9999999999", "9999999999999999999999999999.9999999999", "'9999999999999999999999999999.9999999999'"]),
        ("smallest digit", ["-0.0000000001", "-0.0000000001", "'-0.0000000001'"]),
        ("zeros at the end", ["1.5000000000", "1.5000000000", "'1.50'"]),
        ("NaN", ["'NaN'", "", "'NaN'"]),
    ]),
    column("n65", ["numeric", "decimal(65,30)", "DECIMALTEXT"], Shown::Number, &[
        ("65 digits", ["99999999999999999999999999999999999.999999999999999999999999999999", "99999999999999999999999999999999999.999999999999999999999999999999", "'99999999999999999999999999999999999.999999999999999999999999999999'"]),
        ("80 digits", ["1e79 + 1", "", "'10000000000000000000000000000000000000000000000000000000000000000000000000000001'"]),
        ("100 digits behind the point", ["1e-100", "", "'1e-100'"]),
        ("NaN", ["'NaN'", "", "'NaN'"]),
        ("infinity", ["'Infinity'", "", "'Infinity'"]),
        ("-infinity", ["'-Infinity'", "", "'-Infinity'"]),
    ]),
    column("n15", ["numeric(20,4)", "decimal(20,4)", "DECIMAL(20,4)"], Shown::Number, &[
        ("15 digits", ["12345678901.2345", "12345678901.2345", "12345678901.2345"]),
        ("20 digits", ["1234567890123456.7891", "1234567890123456.7891", ""]),
        ("whole", ["9007199254740993", "9007199254740993", "9007199254740993"]),
        ("0.1", ["0.1", "0.1", "0.1"]),
    ]),
    column("n2", ["numeric(10,2)", "decimal(10,2)", "DECIMALTEXT"], Shown::Number, &[
        ("as the column has it", ["1.25", "1.25", "'1.25'"]),
        ("more digits behind the point", ["", "", "'1.005'"]),
        ("more digits before it", ["", "", "'123456789'"]),
    ]),
    column("dom", ["positive", "decimal(8,2)", "DECIMALTEXT"], Shown::Number, &[
        ("as the domain has it", ["1.25", "1.25", "'1.25'"]),
        ("what its check refuses", ["", "-1", "'-1'"]),
    ]),
    column("f8", ["double precision", "double", "REAL"], Shown::Double, &[
        ("0.1", ["0.1", "0.1e0", "0.1"]),
        ("17 digits", ["0.30000000000000004", "0.30000000000000004e0", "0.30000000000000004"]),
        ("largest", ["1.7976931348623157e308", "1.7976931348623157e308", "1.7976931348623157e308"]),
        ("smallest", ["'5e-324'", "5e-324", "5e-324"]),
        ("-0.0", ["'-0'", "-0e0", "-0.0"]),
        ("2^53 + 2", ["9007199254740994", "9007199254740994e0", "9007199254740994.0"]),
        ("NaN", ["'NaN'", "", "'NaN'"]),
        ("infinity", ["'Infinity'", "", "9e999"]),
        ("-infinity", ["'-Infinity'", "", "-9e999"]),
        ("text", ["", "", "'abc'"]),
    ]),
    column("f4", ["real", "float", "REAL"], Shown::Single, &[
        ("0.1", ["0.1", "0.1", "0.1"]),
        ("1/3", ["1.0/3", "1.0/3", "1.0/3"]),
        ("largest", ["3.4028235e38", "3.4028234e38", "3.4028234663852886e38"]),
        ("beyond the column", ["", "", "1e39"]),
        ("NaN", ["'NaN'", "", "'NaN'"]),
    ]),
    column("t", ["text", "longtext", "TEXT"], Shown::Text, &[
        ("empty", ["''", "''", "''"]),
        ("emoji", ["'😀👩‍👩‍👧'", "'😀👩‍👩‍👧'", "'😀👩‍👩‍👧'"]),
        ("right to left", ["'‏שלום עולם'", "'‏שלום עולם'", "'‏שלום עולם'"]),
        ("combining marks", ["'é é'", "'é é'", "'é é'"]),
        ("blanks at both ends", ["'  a  '", "'  a  '", "'  a  '"]),
        ("quotes and backslashes", [r#"'''"\N \. %s $1 ?'"#, r#"'''"\\N \\. %s $1 ?'"#, r#"'''"\N \. %s $1 ?'"#]),
        ("line ends and tabs", ["e'a\\r\\nb\\tc\\u0001'", "concat('a',char(13),char(10),'b',char(9),'c',char(1))", "'a' || char(13,10) || 'b' || char(9) || 'c' || char(1)"]),
        ("U+0000", ["", "concat('a', char(0), 'b')", "char(97, 0, 98)"]),
        ("U+FFFF and U+10FFFF", ["u&'\\FFFF\\+10FFFF'", "convert(x'EFBFBFF48FBFBF' using utf8mb4)", "char(65535, 1114111)"]),
        ("looks like a number", ["'007'", "'007'", "'007'"]),
        ("bytes", ["", "", "x'ff00'"]),
    ]),
    column("v", ["varchar(10)", "varchar(10)", "VARCHAR(10)"], Shown::Text, &[
        ("10 characters", ["repeat('😀', 10)", "repeat('😀', 10)", "'😀😀😀😀😀😀😀😀😀😀'"]),
        ("11 characters", ["", "", "'12345678901'"]),
        ("blanks beyond the column", ["", "", "'1234567890   '"]),
    ]),
    column("c", ["char(5)", "char(5)", "CHAR(5)"], Shown::Text, &[
        ("shorter", ["'ab'", "'ab'", "'ab'"]),
        ("blanks in front", ["'  ab'", "'  ab'", "'  ab'"]),
        ("blanks at the end", ["", "", "'ab '"]),
    ]),
    column("loose", ["text", "longtext", " "], Shown::Loose, &[
        ("text", ["'5'", "'5'", "'5'"]),
        ("an integer", ["", "", "5"]),
        ("a real", ["", "", "1.5"]),
        ("bytes", ["", "", "x'ff00'"]),
    ]),
    column("ci", ["citext", "varchar(40) COLLATE utf8mb4_general_ci", "TEXT COLLATE NOCASE"], Shown::Text, &[
        ("capitals", ["'Ann'", "'Ann'", "'Ann'"]),
        ("small", ["'ann'", "'ann'", "'ann'"]),
    ]),
    column("by", ["bytea", "longblob", "BLOB"], Shown::Bytes, &[
        ("empty", ["''", "x''", "x''"]),
        ("zeros and others", ["'\\x00ff5c27000a'", "x'00ff5c27000a'", "x'00ff5c27000a'"]),
        ("text", ["", "", "'text'"]),
    ]),
    column("b4", ["bytea", "binary(4)", "BLOB"], Shown::Bytes, &[
        ("4 bytes", ["'\\x00010203'", "x'00010203'", "x'00010203'"]),
        ("2 bytes", ["'\\x0102'", "", "x'0102'"]),
        ("5 bytes", ["'\\x0102030405'", "", "x'0102030405'"]),
    ]),
    column("u", ["uuid", "uuid", "UUID"], Shown::Text, &[
        ("RFC 4122", ["'0123456789AB4DEF8123456789abcdef'", "'01234567-89AB-4DEF-8123-456789ABCDEF'", "'01234567-89ab-4def-8123-456789abcdef'"]),
        ("of no variant", ["'01234567-89ab-cdef-0123-456789abcdef'", "", "'01234567-89ab-cdef-0123-456789abcdef'"]),
        ("not one", ["", "", "'x'"]),
    ]),
    column("uc", ["uuid", "char(36)", "TEXT"], Shown::Text, &[
        ("a", ["'01234567-89ab-cdef-0123-456789abcdef'", "'01234567-89ab-cdef-0123-456789abcdef'", "'01234567-89ab-cdef-0123-456789abcdef'"]),
    ]),
    column("jb", ["jsonb", "json", "JSON"], Shown::Json, &[
        ("large numbers", [r#"'{"n": 12345678901234567890.123456789, "e": 1e30}'"#, r#"'{"n": 12345678901234567890.123456789, "e": 1e30}'"#, r#"'{"n": 12345678901234567890.123456789, "e": 1e30}'"#]),
        ("order of names", [r#"'{"b": 1, "a": [1, null, {"x": {}}]}'"#, r#"'{"b": 1, "a": [1, null, {"x": {}}]}'"#, r#"'{"b": 1, "a": [1, null, {"x": {}}]}'"#]),
        ("escapes", [r#"'["\u00e9\ud83d\ude00", "\"\\\n"]'"#, r#"'["\\u00e9\\ud83d\\ude00", "\\"\\\\\\n"]'"#, r#"'["\u00e9\ud83d\ude00", "\"\\\n"]'"#]),
        ("single values", ["'\"text\"'", "'\"text\"'", "'\"text\"'"]),
        ("null of JSON", ["'null'", "'null'", "'null'"]),
        ("a number", ["'1.50'", "'1.50'", "'1.50'"]),
        ("equal names", ["", r#"'{"a": 1, "a": 2}'"#, r#"'{"a": 1, "a": 2}'"#]),
        ("U+0000", ["", r#"'["\\u0000"]'"#, r#"'["\u0000"]'"#]),
        ("not JSON", ["", "", "'{'"]),
    ]),
    column("j", ["json", "json", "JSON"], Shown::Text, &[
        ("spelling", [r#"'{ "b" : 1.0, "a": 1, "a": 2 }'"#, r#"'{ "b" : 1.0, "a": 1, "a": 2 }'"#, r#"'{ "b" : 1.0, "a": 1, "a": 2 }'"#]),
    ]),
    column("ai", ["integer[]", "longtext", "TEXT"], Shown::Text, &[
        ("nested, with null", ["'{{1,NULL},{-2,3}}'", "'{{1,NULL},{-2,3}}'", "'{{1,NULL},{-2,3}}'"]),
        ("empty", ["'{}'", "'{}'", "'{}'"]),
        ("not one", ["", "'x'", "'x'"]),
    ]),
    column("at", ["text[]", "longtext", "TEXT"], Shown::Text, &[
        ("quotes and commas", [r#"'{"a,b","\"q\"",NULL,"null","\\",""}'"#, r#"'{"a,b","\\"q\\"",NULL,"null","\\\\",""}'"#, r#"'{"a,b","\"q\"",NULL,"null","\\",""}'"#]),
    ]),
    column("e", ["mood", "enum('b','a','it''s','')", "TEXT"], Shown::Text, &[
        ("a value", ["'it''s'", "'it''s'", "'it''s'"]),
        ("empty", ["''", "''", "''"]),
        ("the number of a value", ["", "", "'1'"]),
        ("another case", ["", "", "'A'"]),
    ]),
    column("st", ["text", "set('b','a','c')", "TEXT"], Shown::Text, &[
        ("several", ["'b,c'", "'b,c'", "'b,c'"]),
        ("none", ["''", "''", "''"]),
        ("in another order", ["'c,b'", "", "'c,b'"]),
        ("a number", ["'3'", "", "'3'"]),
    ]),
    column("d", ["date", "date", "DATE"], Shown::Time, &[
        ("9999-12-31", ["'9999-12-31'", "'9999-12-31'", "'9999-12-31'"]),
        ("0001-01-01", ["'0001-01-01'", "'0001-01-01'", "'0001-01-01'"]),
        ("29 February", ["'2024-02-29'", "'2024-02-29'", "'2024-02-29'"]),
        ("before Christ", ["'0044-03-15 BC'", "", ""]),
        ("year 5874897", ["'5874897-12-31'", "", ""]),
        ("infinity", ["'infinity'", "", "'infinity'"]),
        ("zero date", ["", "'0000-00-00'", "'0000-00-00'"]),
        ("no day", ["", "'2024-02-00'", "'2024-02-00'"]),
        ("another form", ["", "", "'15/03/2024'"]),
    ]),
    column("ti", ["time", "time(6)", "TIME"], Shown::Time, &[
        ("last microsecond", ["'23:59:59.999999'", "'23:59:59.999999'", "'23:59:59.999999'"]),
        ("24:00", ["'24:00'", "'24:00:00'", "'24:00:00'"]),
        ("more than a day", ["", "'838:59:59'", "'838:59:59'"]),
        ("below zero", ["", "'-01:00:00.5'", "'-01:00:00.5'"]),
    ]),
    column("ts", ["timestamp", "datetime(6)", "TIMESTAMP"], Shown::Time, &[
        ("microseconds", ["'2024-03-31 02:30:00.123456'", "'2024-03-31 02:30:00.123456'", "'2024-03-31 02:30:00.123456'"]),
        ("last microsecond", ["'9999-12-31 23:59:59.999999'", "'9999-12-31 23:59:59.999999'", "'9999-12-31 23:59:59.999999'"]),
        ("before Christ", ["'0044-03-15 10:00:00 BC'", "", ""]),
        ("infinity", ["'infinity'", "", "'infinity'"]),
        ("zero date", ["", "'0000-00-00 00:00:00'", "'0000-00-00 00:00:00'"]),
        ("leap second", ["", "", "'2016-12-31 23:59:60'"]),
        ("nanoseconds", ["", "", "'2024-01-01 00:00:00.123456789'"]),
        ("a number", ["", "", "1711852200"]),
    ]),
    column("tz", ["timestamptz", "timestamp(6) NULL", "TIMESTAMPTZ"], Shown::Time, &[
        ("before summer time", ["'2024-03-31 00:59:59.999999+00'", "'2024-03-31 00:59:59.999999'", "'2024-03-31T00:59:59.999999Z'"]),
        ("in the hour that is skipped", ["'2024-03-31 01:30:00+00'", "'2024-03-31 01:30:00'", "'2024-03-31 03:30:00+02:00'"]),
        ("first of two equal hours", ["'2024-10-27 02:30:00+02'", "'2024-10-27 00:30:00'", "'2024-10-27 02:30:00+02:00'"]),
        ("second of two equal hours", ["'2024-10-27 02:30:00+01'", "'2024-10-27 01:30:00'", "'2024-10-27 02:30:00+01:00'"]),
        ("2039", ["'2039-01-01 00:00:00+00'", "", "'2039-01-01 00:00:00Z'"]),
        ("infinity", ["'-infinity'", "", "'-infinity'"]),
        ("zero date", ["", "'0000-00-00 00:00:00'", "'0000-00-00 00:00:00'"]),
    ]),
    column("dt", ["timestamptz", "datetime(6)", "TIMESTAMPTZ"], Shown::Time, &[
        ("taken for UTC", ["'2024-03-31 02:30:00.5+00'", "'2024-03-31 02:30:00.5'", "'2024-03-31 02:30:00.5Z'"]),
    ]),
    column("t0", ["timestamp(0)", "datetime", "TIMESTAMP"], Shown::Time, &[
        ("whole seconds", ["'2024-03-31 02:30:07'", "'2024-03-31 02:30:07'", "'2024-03-31 02:30:07'"]),
        ("a fraction", ["", "", "'2024-03-31 02:30:07.7'"]),
    ]),
    column("iv", ["interval", "varchar(60)", "TEXT"], Shown::Text, &[
        ("mixed", ["'-1 mon +2 days -03:04:05.678901'", "'-1 mons +2 days -03:04:05.678901'", "'-1 mons +2 days -03:04:05.678901'"]),
        ("months are not days", ["'1 mon'", "'1 mon'", "'1 mon'"]),
    ]),
    column("it", ["interval", "time", "TEXT"], Shown::Text, &[
        ("hours", ["'-100:00:00'", "'-100:00:00'", "'-100:00:00'"]),
        ("days", ["'2 days'", "", "'2 days'"]),
    ]),
    column("bits", ["bit(8)", "", "TEXT"], Shown::Text, &[("8 bits", ["b'01000001'", "", "'01000001'"]), ("7 bits", ["", "", "'1000001'"])]),
    column("vb", ["varbit", "varchar(20)", "TEXT"], Shown::Text, &[("0101", ["b'0101'", "'0101'", "'0101'"]), ("none", ["b''", "''", "''"])]),
    column("b8", ["integer", "bit(8)", "INTEGER"], Shown::Number, &[
        ("largest", ["255", "b'11111111'", "255"]),
        ("beyond the column", ["256", "", "256"]),
        ("below zero", ["-1", "", "-1"]),
    ]),
    column("y", ["integer", "year", "INTEGER"], Shown::Number, &[
        ("first and zero", ["1901", "1901", "1901"]),
        ("zero", ["0", "0", "0"]),
        ("two digits", ["5", "", "5"]),
        ("2156", ["2156", "", "2156"]),
    ]),
    column("ip", ["inet", "varchar(50)", "TEXT"], Shown::Text, &[
        ("with a mask", ["'192.168.0.1/24'", "'192.168.0.1/24'", "'192.168.0.1/24'"]),
        ("IPv6", ["'::1'", "'::1'", "'::1'"]),
    ]),
    column("mac", ["macaddr", "varchar(50)", "TEXT"], Shown::Text, &[("a", ["'08:00:2b:01:02:03'", "'08:00:2b:01:02:03'", "'08:00:2b:01:02:03'"])]),
    column("mo", ["money", "varchar(50)", "TEXT"], Shown::Text, &[("largest", ["'92233720368547758.07'::money", "'$92,233,720,368,547,758.07'", "'$92,233,720,368,547,758.07'"])]),
    column("x", ["xml", "longtext", "TEXT"], Shown::Text, &[("a document", ["'<a b=\"c\">é</a>'", "'<a b=\"c\">é</a>'", "'<a b=\"c\">é</a>'"])]),
    column("r", ["tstzrange", "varchar(100)", "TEXT"], Shown::Text, &[("half open", [r#"'["2024-03-31 01:30:00+00",)'"#, r#"'["2024-03-31 01:30:00+00",)'"#, r#"'["2024-03-31 01:30:00+00",)'"#])]),
    column("co", ["pair", "varchar(50)", "TEXT"], Shown::Text, &[("with quotes", [r#"'(1,"a ""b"", c")'"#, r#"'(1,"a ""b"", c")'"#, r#"'(1,"a ""b"", c")'"#])]),
    column("hs", ["hstore", "varchar(50)", "TEXT"], Shown::Text, &[("with null", [r#"'"a"=>"1", "b"=>NULL'"#, r#"'"a"=>"1", "b"=>NULL'"#, r#"'"a"=>"1", "b"=>NULL'"#])]),
    column("geo", ["bytea", "geometry", "BLOB"], Shown::Bytes, &[
        ("a point", ["'\\x00000000010100000000000000000000400000000000000840'", "ST_GeomFromText('POINT(2 3)')", "x'00000000010100000000000000000000400000000000000840'"]),
        ("not one", ["'\\x01'", "", "x'01'"]),
    ]),
    column("ip6", ["inet", "inet6", "TEXT"], Shown::Text, &[("IPv6", ["'2001:db8::1'", "'2001:db8::1'", "'2001:db8::1'"])]),
    column("o", ["oid", "bigint", "INTEGER"], Shown::Number, &[("largest", ["4294967295", "4294967295", "4294967295"])]),
];
