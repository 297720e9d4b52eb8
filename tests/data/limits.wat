;; A plugin of simple transforms, each of which wants much of one thing. `tests/it/plugin_limits.rs` fills in its description
;; ($INFO: the address of its `plugin-info`, $DATA: the bytes at 1,024) and makes it a component.
(module
  (import "tidelock:plugin/log@0.1.0" "write" (func $log (param i32 i32 i32)))
  (memory (export "memory") 2)
  (table $table 1 funcref)
  (global $top (mut i32) (i32.const 32768))
  (data (i32.const 1024) "$DATA")

  ;; What is allocated is never freed; an instance has few calls.
  (func $allocate (param $bytes i32) (result i32)
    (local $at i32)
    (local.set $at (i32.and (i32.add (global.get $top) (i32.const 7)) (i32.const -8)))
    (global.set $top (i32.add (local.get $at) (local.get $bytes)))
    (local.get $at))
  (func (export "cabi_realloc") (param i32 i32 i32) (param $bytes i32) (result i32)
    (call $allocate (local.get $bytes)))

  (func (export "tidelock:plugin/meta@0.1.0#describe") (result i32) (i32.const $INFO))

  (func $recurse (param $depth i32) (result i32)
    (if (result i32) (i32.eqz (local.get $depth))
      (then (i32.const 0))
      (else (i32.add (i32.const 1) (call $recurse (i32.sub (local.get $depth) (i32.const 1)))))))

  ;; One entry after the other, as long as there are any, up to 20,000.
  (func $grow_by_steps
    (loop $more
      (if (i32.eq (table.grow $table (ref.null func) (i32.const 1)) (i32.const -1)) (then unreachable))
      (br_if $more (i32.lt_u (table.size $table) (i32.const 20000)))))

  ;; A second of a processor or more.
  (func $burn (local $left i64)
    (local.set $left (i64.const 3000000000))
    (loop $more
      (local.set $left (i64.sub (local.get $left) (i64.const 1)))
      (br_if $more (i64.ne (local.get $left) (i64.const 0)))))

  ;; Writes a text to the log, 1,000 times.
  (func $chat (param $text i32) (param $bytes i32) (local $left i32)
    (local.set $left (i32.const 1000))
    (loop $more
      (call $log (i32.const 2) (local.get $text) (local.get $bytes))
      (local.set $left (i32.sub (local.get $left) (i32.const 1)))
      (br_if $more (local.get $left))))

  (func (export "tidelock:plugin/simple-transform@0.1.0#apply")
    (param $now i64) (param i32 i32 i32 i32 i32 i32 i32 i32) (param $name i32) (param $length i32)
    (param i32 i32 i32) (param $values i32) (param $rows i32) (result i32)
    (local $answer i32) (local $list i32) (local $text i32) (local $bytes i32) (local $row i32)
    ;; burn
    (if (i32.and (i32.eq (local.get $length) (i32.const 4)) (local.get $rows)) (then (call $burn)))
    ;; chats: its own name
    (if (i32.and (i32.eq (local.get $length) (i32.const 5)) (local.get $rows))
      (then (call $chat (local.get $name) (local.get $length))))
    ;; grow_table
    (if (i32.eq (local.get $length) (i32.const 10))
      (then (if (i32.eq (table.grow $table (ref.null func) (i32.const 20000)) (i32.const -1)) (then unreachable))))
    ;; grow_memory: 32 MiB
    (if (i32.eq (local.get $length) (i32.const 11))
      (then (if (i32.eq (memory.grow (i32.const 512)) (i32.const -1)) (then unreachable))))
    ;; recurse
    (if (i32.eq (local.get $length) (i32.const 7))
      (then (drop (call $recurse (i32.const 5000)))))
    ;; grow_table_by_steps
    (if (i32.eq (local.get $length) (i32.const 19)) (then (call $grow_by_steps)))
    ;; say_much and say_rows: 65,530 bytes, or one for each row of the call
    (if (i32.eq (local.get $length) (i32.const 8))
      (then (local.set $bytes
        (select (i32.const 65530) (local.get $rows) (i32.eq (i32.load8_u offset=4 (local.get $name)) (i32.const 109))))))
    (local.set $text (call $allocate (local.get $bytes)))
    (memory.fill (local.get $text) (i32.const 121) (local.get $bytes))
    ;; Memory is zero where nothing was written: ok(none) everywhere, to begin with.
    (local.set $list (call $allocate (i32.mul (local.get $rows) (i32.const 20))))
    (local.set $answer (call $allocate (i32.const 24)))
    (i32.store offset=4 (local.get $answer) (local.get $list))
    (i32.store offset=8 (local.get $answer) (local.get $rows))
    (if (local.get $bytes)
      (then (loop $next
        (i32.store8 offset=4 (local.get $list) (i32.const 1))
        (i32.store offset=8 (local.get $list) (local.get $text))
        (i32.store offset=12 (local.get $list) (local.get $bytes))
        (local.set $list (i32.add (local.get $list) (i32.const 20)))
        (local.set $row (i32.add (local.get $row) (i32.const 1)))
        (br_if $next (i32.lt_u (local.get $row) (local.get $rows))))))
    (local.get $answer)))
