/* Conditions compiled against this program's own DWARF and evaluated on its own memory. */
#include <elf.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/uio.h>

#include <cmocka.h>

#include "server/expr.h"
#include "target/ax.h"
#include "target/x86/regs.h"

enum colour { EXPR_RED = 3, EXPR_GREEN = -4 };
enum status { EXPR_GOOD = 200, EXPR_HIGH = 40000, EXPR_TOP = 0xfffffff0 };

struct expr_inner {
	int first;
	unsigned small : 3;
	int negative : 5;
	unsigned long wide;
};

struct expr_outer {
	struct expr_outer *next;
	struct expr_inner in;
	struct expr_inner list[3];
	union {
		unsigned bits;
		float number;
	};
	const char *name;
	char word[8];
	double real;
};

/* volatile: they have to be in memory, whatever the optimiser sees. */
struct expr_outer expr_second = { .in = { 20, 5, -7, 1ul << 40 }, .name = "second", .word = "sec" };
struct expr_outer expr_first = { .next = &expr_second,
				 .in = { -10, 1, 2, 3 },
				 .list = { { 1, 0, 0, 0 }, { 2, 0, 0, 0 }, { 3, 0, 0, 99 } },
				 .bits = 0xfffffff0,
				 .name = "first",
				 .word = "one",
				 .real = 1.5 };
volatile int expr_int = -3;
volatile unsigned expr_unsigned = 0xfffffffd;
volatile unsigned char expr_byte = 250;
volatile signed char expr_signed_byte = -6;
volatile long expr_long = -5000000000;
volatile enum colour expr_colour = EXPR_GREEN;
volatile enum status expr_status = EXPR_GOOD;
volatile enum status expr_top_status = EXPR_TOP;
volatile _Bool expr_true = 1;
volatile float expr_float = 0.1f;
volatile float expr_other_float = 16777216;
volatile double expr_double = -2.5;
volatile double expr_nan = __builtin_nan("");
volatile long double expr_long_double = 1;
int expr_table[8] = { 1, 2, 3, 4, 5, 6, 7, 8 };
int *expr_pointer = &expr_table[2];
struct expr_outer *expr_null;

static struct debuginfo *own;
static uint64_t here;

static int variable(void *ctx, const char *name, struct di_var *ret, struct err *err)
{
	(void)ctx;
	return debuginfo_variable(own, here, name, ret, err);
}

static int constant(void *ctx, const char *name, int64_t *ret)
{
	(void)ctx;
	return debuginfo_constant(own, here, name, ret);
}

static int reg(void *ctx, unsigned number, uint64_t *ret)
{
	(void)ctx;
	*ret = number == X86_RAX ? 0x80000001 : number == X86_RDI ? UINT64_MAX : number;
	return 0;
}

static int own_read(void *ctx, uint64_t addr, void *into, size_t len, size_t *ret_got)
{
	struct iovec local = { into, len }, remote = { (void *)(uintptr_t)addr, len };
	ssize_t n = process_vm_readv(getpid(), &local, 1, &remote, 1, 0);

	(void)ctx;
	if (n <= 0)
		return -EFAULT;
	*ret_got = (size_t)n;
	return 0;
}

static int evaluate(const char *text, bool go, uint64_t *ret, struct err *err)
{
	struct expr_scope scope = { .go = go, .variable = variable, .constant = constant };
	struct mem mem = { .read = own_read };
	struct ax_env env = { .reg = reg, .mem = &mem };
	_cleanup_buf_ struct buf code = { 0 };
	struct ax *ax;

	buf_init(&code, EXPR_CODE_MAX);
	int r = expr_compile_condition(text, &scope, &code, err);
	if (r < 0)
		return r;
	r = ax_compile(code.data, code.len, expr_ax_reg, NULL, &ax, err);
	if (r < 0)
		fail_msg("'%s' compiles to what is refused: %s", text, err->text);
	r = ax_eval(ax, &env, ret, err);
	ax_free(ax);
	return r;
}

static void wants_value(const char *text, bool go, uint64_t wanted)
{
	struct err err = { 0 };
	uint64_t value;

	int r = evaluate(text, go, &value, &err);
	if (r < 0)
		fail_msg("'%s': %s", text, err_text(&err, r));
	if (value != wanted)
		fail_msg("'%s' is %#lx, not %#lx", text, value, wanted);
}

static void is_true(const char *text)
{
	wants_value(text, false, 1);
}

static void is_false(const char *text)
{
	wants_value(text, false, 0);
}

static void go_true(const char *text)
{
	wants_value(text, true, 1);
}

static void refused(const char *text, const char *words)
{
	struct err err = { 0 };
	uint64_t value;

	if (evaluate(text, false, &value, &err) == 0)
		fail_msg("'%s' is accepted", text);
	if (!strstr(err.text, words))
		fail_msg("'%s' is refused with: %s", text, err.text);
}

static void test_numbers(void **state)
{
	(void)state;
	is_true("1");
	is_false("0");
	is_true("0x10 == 16 && 0b11 == 3 && 010 == 8 && 0o17 == 15 && 1_000 == 1000");
	is_true("'a' == 97 && '\\n' == 10 && '\\x41' == 'A' && '\\'' == 39");
	is_true("18446744073709551615 > 9223372036854775807");
	is_true("1 + 2 * 3 == 7 && (1 + 2) * 3 == 9 && 7 / 2 == 3 && 7 % 4 == 3 && -7 / 2 == -3");
	is_true("1 << 4 == 16 && 256 >> 4 == 16 && (5 ^ 1) == 4 && (6 & 3) == 2 && (4 | 1) == 5");
	is_true("~0 == -1 && !0 && !!7 == 1 && -(-3) == 3 && +4 == 4");
	is_true("1 == 1 || 1 / 0");
	is_false("0 && 1 / 0");
	is_true("2 || 0");
	is_true("1 < 2 && 2 <= 2 && 3 > 2 && 3 >= 3 && 1 != 2");
	/* & binds weaker than == in C and stronger in Go */
	is_false("2 & 2 == 2");
	go_true("2 & 2 == 2");
	go_true("7 &^ 2 == 5");
	go_true("^0 == -1");
	is_true("true && !false && nullptr == 0 && NULL == 0");
}

static void test_types_of_c(void **state)
{
	(void)state;
	is_true("expr_int == -3 && expr_int < 0");
	is_true("expr_unsigned == 0xfffffffd && expr_unsigned > 0");
	/* int meets unsigned: both are unsigned. */
	is_true("expr_int == expr_unsigned");
	is_false("expr_int < expr_unsigned");
	is_true("expr_byte + 10 == 260");
	is_true("expr_signed_byte == -6 && expr_signed_byte < expr_byte");
	is_true("expr_unsigned + 3 == 0");
	is_true("expr_long == -5000000000 && expr_long / 5 == -1000000000");
	is_true("expr_colour == EXPR_GREEN && expr_colour != EXPR_RED && expr_colour == -4");
	is_true("expr_status == EXPR_GOOD && EXPR_GOOD == 200 && EXPR_HIGH == 40000");
	is_true("expr_top_status == EXPR_TOP && EXPR_TOP > EXPR_HIGH");
	is_true("expr_true && expr_true == 1");
	is_true("expr_int == 0xfffffffd");
	is_true("(unsigned char)expr_int == 253 && (char)250 == -6 && (long)expr_int == -3");
	is_true("-expr_int == 3 && ~expr_unsigned == 2");
	/* Go keeps to the operand's type. */
	go_true("expr_byte + 10 == 4");
	go_true("uint8(300) == 44 && int64(expr_int) == -3");
}

static void test_members(void **state)
{
	(void)state;
	is_true("expr_first.in.first == -10 && expr_first.next->in.first == 20");
	is_true("expr_first.next.in.wide == 1 << 0 << 40 || expr_first.next->in.wide == "
		"1099511627776");
	is_true("expr_first.in.small == 1 && expr_second.in.small == 5 && expr_second.in.negative "
		"== -7");
	is_true("expr_first.list[2].wide == 99 && expr_first.list[1].first == 2");
	is_true("expr_first.bits == 0xfffffff0");
	is_true("expr_table[3] == 4 && expr_pointer[1] == 4 && *expr_pointer == 3 && "
		"*(expr_pointer - 1) == 2");
	is_true("expr_pointer == &expr_table[2] && expr_pointer + 1 == &expr_table[3]");
	is_true("1 + expr_pointer == &expr_table[3] && *(1 + expr_pointer) == 4 && (-2 + "
		"expr_pointer)[1] == 2");
	is_true("&expr_first.next->in == &expr_second.in");
	is_true("expr_null == 0 && !expr_null && expr_first.next");
	is_true("*(int *)expr_pointer == 3 && *(unsigned char *)expr_pointer == 3");
	is_true("expr_table[expr_first.list[2].first - 1] == 3");
}

static void test_texts(void **state)
{
	(void)state;
	is_true("expr_first.name == \"first\" && expr_first.name != \"firs\" && expr_first.name != "
		"\"first1\"");
	is_true("\"second\" == expr_first.next->name");
	is_true("expr_first.word == \"one\" && expr_first.word != \"two\"");
	is_false("expr_null && expr_null->name == \"x\"");
	is_true("expr_first.name[0] == 'f' && expr_first.word[3] == 0");
	is_true("len(\"abc\") == 3");
}

static void test_registers(void **state)
{
	(void)state;
	is_true("$rax == 0x80000001 && $eax < 0 && $rdi == -1");
	is_true("$pc == $rip && $sp == $rsp && $fp == $rbp");
	refused("$nosuch == 1", "there is no register '$nosuch'");
	refused("$ymm0 == 1", "there is no register");
}

static void go_refused(const char *text, const char *words)
{
	struct err err = { 0 };
	uint64_t value;

	if (evaluate(text, true, &value, &err) == 0)
		fail_msg("'%s' is accepted", text);
	if (!strstr(err.text, words))
		fail_msg("'%s' is refused with: %s", text, err.text);
}

static void test_elements_in_go(void **state)
{
	(void)state;
	go_true("expr_table[2] == 3");
	go_refused("expr_pointer[0] == 3", "maps are not looked into");
	is_true("expr_pointer[0] == 3");
}

/* As the compiler does it, in the types of C and of Go. */
static void test_floating_point(void **state)
{
	(void)state;
	is_true("expr_double == -2.5 && expr_double < -2 && -expr_double > 2.4999 && expr_double "
		"!= 2.5");
	is_true("expr_first.real > 1 && expr_first.real * 2 == 3 && expr_first.real / 4 == .375e0");
	is_true("expr_float > 0.1 && expr_float != 0.1 && expr_float == 0.1f");
	go_true("expr_float == 0.1 && !(expr_float > 0.1)");
	is_true("expr_other_float + 1.0f == expr_other_float && expr_other_float + 1.0 > "
		"expr_other_float");
	is_true("expr_other_float + 1 == expr_other_float");
	is_false(
		"expr_nan == expr_nan || expr_nan < 1 || expr_nan >= 1 || !(expr_nan != expr_nan)");
	is_true("expr_int * 0.5 == -1.5 && expr_unsigned > 4e9 && expr_long < -4.9e9");
	is_true("(int)expr_double == -2 && (long)1e3 == 1000 && (double)expr_int / 2 == -1.5");
	is_true("(float)0.1 == expr_float && (bool)0.5 && !0.0 && expr_double && 0.5");
	is_true("(long)1e300 == (1ul << 63)");
}

static void test_errors(void **state)
{
	struct err err = { 0 };
	uint64_t value;
	char deep[400];

	(void)state;
	refused("", "column 1: the expression is not finished");
	refused("1 +", "column 4: the expression is not finished");
	refused("(1", "')' is missing");
	refused("1 2", "something is left over");
	refused("expr_nothing > 1", "there is no variable or constant 'expr_nothing'");
	refused("expr_first.nothing", "has no member 'nothing'");
	refused("expr_first", "cannot be used as a number");
	refused("expr_long_double > 1", "float and double can be used");
	refused("expr_first.real % 2 == 1", "need integers");
	refused("~expr_first.real", "needs an integer");
	refused("expr_table[1.0] == 2", "an index needs an integer");
	refused("expr_pointer == 1.5", "do not go together");
	refused("1 - expr_pointer == 0", "cannot be subtracted from a number");
	refused("expr_pointer + expr_pointer == 0", "two pointers cannot be added");
	refused("1.5x == 1", "this is no number");
	refused("\"a\" == \"b\"", "cannot be compared with a text");
	refused("\"a\"", "a text can only be compared");
	refused("\"abc", "the text has no end");
	refused("*expr_int", "points to nothing");
	refused("99999999999999999999", "does not fit");
	refused("12abc", "this is no number");
	refused("expr_int[0]", "cannot be indexed");
	refused("expr_nothing(1) == 2", "'expr_nothing' cannot be called");
	refused("len(expr_int)", "has no length");
	memset(deep, '(', sizeof(deep) - 1);
	deep[sizeof(deep) - 1] = 0;
	refused(deep, "nested more than");
	memset(deep, '-', sizeof(deep) - 1);
	refused(deep, "nested more than");
	/* What cannot be read is an error when it is evaluated. */
	assert_int_equal(evaluate("expr_null->in.first == 1", false, &value, &err), -EFAULT);
	assert_int_equal(evaluate("1 / expr_null == 1", false, &value, &err), -EDOM);
}

static void test_no_names(void **state)
{
	struct expr_scope none = { 0 };
	struct err err = { 0 };
	_cleanup_buf_ struct buf code = { 0 };

	(void)state;
	buf_init(&code, EXPR_CODE_MAX);
	assert_int_equal(expr_compile_condition("x == 1", &none, &code, &err), -ENOENT);
	assert_non_null(strstr(err.text, "without DWARF only registers"));
}

/* ---- the lookups themselves ---- */

struct seen {
	size_t count;
	struct di_place first;
	uint64_t lowest;
};

static bool see(void *ctx, const struct di_place *at)
{
	struct seen *s = ctx;
	if (!s->count++)
		s->first = *at;
	return true;
}

__attribute__((noinline)) static int looked_for(volatile int *a, int b)
{
	*a += b;
	return *a; /* the line looked for */
}

static void test_functions_and_lines(void **state)
{
	struct seen s = { 0 };
	int line, exact;
	volatile int x = 1;

	(void)state;
	assert_int_equal(looked_for(&x, 2), 3);
	assert_int_equal(debuginfo_functions(own, "looked_for", see, &s), 0);
	assert_true(s.count >= 1);
	assert_true(s.first.low == (uintptr_t)looked_for);
	assert_true(s.first.addr >= s.first.low && s.first.addr < s.first.end);
	assert_non_null(strstr(s.first.file, "expr_test.c"));
	struct di_place at = debuginfo_at(own, (uintptr_t)looked_for);
	assert_string_equal(at.function, "looked_for");
	line = exact = at.line;

	s = (struct seen){ 0 };
	assert_int_equal(debuginfo_lines(own, "unit/expr_test.c", &line, see, &s), 0);
	assert_int_equal(line, exact);
	assert_true(s.first.addr >= (uintptr_t)looked_for && s.first.addr < at.end);
	line = 1;
	assert_int_equal(debuginfo_lines(own, "expr_test.c", &line, see, &s), 0);
	assert_true(line > 1); /* the first line that has code */
	line = 1000000;
	assert_int_equal(debuginfo_lines(own, "expr_test.c", &line, see, &s), -ENOENT);
	line = 10;
	assert_int_equal(debuginfo_lines(own, "xpr_test.c", &line, see, &s), -ENOENT);
	assert_int_equal(debuginfo_functions(own, "looked_fo", see, &s), -ENOENT);
}

static void test_parameters(void **state)
{
	struct di_var var;

	(void)state;
	assert_int_equal(debuginfo_parameter(own, (uintptr_t)looked_for, 0, &var), 0);
	assert_string_equal(var.name, "a");
	assert_int_equal(var.type.kind, DI_POINTER);
	assert_int_equal(debuginfo_parameter(own, (uintptr_t)looked_for, 1, &var), 0);
	assert_string_equal(var.name, "b");
	assert_int_equal(var.type.kind, DI_INT);
	assert_int_equal(debuginfo_parameter(own, (uintptr_t)looked_for, 2, &var), -ENOENT);
	struct di_type result;
	assert_true(debuginfo_result(own, (uintptr_t)looked_for, &result));
	assert_int_equal(result.size, 4);
	_cleanup_buf_ struct buf code = { 0 };
	buf_init(&code, 100);
	assert_int_equal(debuginfo_cfa(own, (uintptr_t)looked_for, &code), 0);
	/* At the entry: rsp + 8. */
	assert_int_equal(code.data[0], AXCODE_REG);
	assert_int_equal(code.data[2], 7);
}

static int open_own(void **state)
{
	struct image *img;

	(void)state;
	if (image_open("/proc/self/exe", &img, NULL) < 0)
		return -1;
	uint64_t bias = image_bias(img, getauxval(AT_ENTRY));
	image_free(img);
	here = (uintptr_t)looked_for;
	return debuginfo_open("/proc/self/exe", bias, &own, NULL);
}

static int close_own(void **state)
{
	(void)state;
	own = debuginfo_free(own);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_numbers),        cmocka_unit_test(test_types_of_c),
		cmocka_unit_test(test_members),        cmocka_unit_test(test_texts),
		cmocka_unit_test(test_registers),      cmocka_unit_test(test_elements_in_go),
		cmocka_unit_test(test_floating_point), cmocka_unit_test(test_errors),
		cmocka_unit_test(test_no_names),       cmocka_unit_test(test_functions_and_lines),
		cmocka_unit_test(test_parameters),
	};

	open_own(NULL);
	bool has = own && debuginfo_has_dwarf(own);
	close_own(NULL);
	if (!has) {
		puts("this build has no DWARF");
		return 77;
	}
	return cmocka_run_group_tests(tests, open_own, close_own);
}
