#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "protocol/tdesc.h"

static void expect_reg(const struct tdesc *t, const char *name, unsigned number, unsigned offset,
		       unsigned bits)
{
	const struct tdesc_reg *reg = tdesc_by_name(t, name);
	assert_non_null(reg);
	assert_int_equal(reg->number, number);
	assert_int_equal(reg->offset, offset);
	assert_int_equal(reg->size, bits / 8);
	assert_ptr_equal(tdesc_by_number(t, number), reg);
	assert_ptr_equal(tdesc_by_id(t, reg->id), reg);
}

static void with_avx(void **state)
{
	(void)state;
	struct tdesc t;
	tdesc_build(&t, TDESC_SEGMENTS | TDESC_AVX, TDESC_GDB);
	assert_int_equal(t.count, 76);
	assert_int_equal(t.size, 816);
	expect_reg(&t, "rax", 0, 0, 64);
	expect_reg(&t, "rdi", 5, 40, 64);
	expect_reg(&t, "rbp", 6, 48, 64);
	expect_reg(&t, "rsp", 7, 56, 64);
	expect_reg(&t, "r10", 10, 80, 64);
	expect_reg(&t, "r15", 15, 120, 64);
	expect_reg(&t, "rip", 16, 128, 64);
	expect_reg(&t, "eflags", 17, 136, 32);
	expect_reg(&t, "rflags", 17, 136, 32);
	expect_reg(&t, "cs", 18, 140, 32);
	expect_reg(&t, "gs", 23, 160, 32);
	expect_reg(&t, "st0", 24, 164, 80);
	expect_reg(&t, "st7", 31, 234, 80);
	expect_reg(&t, "fctrl", 32, 244, 32);
	expect_reg(&t, "fop", 39, 272, 32);
	expect_reg(&t, "xmm0", 40, 276, 128);
	expect_reg(&t, "xmm15", 55, 516, 128);
	expect_reg(&t, "mxcsr", 56, 532, 32);
	expect_reg(&t, "orig_rax", 57, 536, 64);
	expect_reg(&t, "fs_base", 58, 544, 64);
	expect_reg(&t, "gs_base", 59, 552, 64);
	expect_reg(&t, "ymm0h", 60, 560, 128);
	expect_reg(&t, "ymm15h", 75, 800, 128);
	assert_null(tdesc_by_name(&t, "pkru"));
	assert_null(tdesc_by_name(&t, "ymm0"));
	assert_null(tdesc_by_number(&t, 76));
	assert_null(tdesc_by_number(&t, UINT64_MAX));
	assert_null(tdesc_by_id(&t, TDESC_ZMM0H));
	assert_null(tdesc_by_id(&t, TDESC_IDS));
}

static void with_everything(void **state)
{
	(void)state;
	struct tdesc t;
	tdesc_build(&t, TDESC_ALL & ~TDESC_PL3_SSP, TDESC_GDB);
	assert_int_equal(t.count, 149);
	assert_int_equal(t.size, 2420);
	expect_reg(&t, "xmm16", 76, 816, 128);
	expect_reg(&t, "ymm16h", 92, 1072, 128);
	expect_reg(&t, "ymm31h", 107, 1312, 128);
	expect_reg(&t, "k0", 108, 1328, 64);
	expect_reg(&t, "zmm0h", 116, 1392, 256);
	expect_reg(&t, "zmm31h", 147, 2384, 256);
	expect_reg(&t, "pkru", 148, 2416, 32);
	for (size_t i = 0; i < t.count; i++)
		assert_int_equal(t.regs[i].id, i);

	tdesc_build(&t, TDESC_ALL, TDESC_GDB);
	assert_int_equal(t.size, TDESC_SIZE_MAX);
	expect_reg(&t, "pl3_ssp", 149, 2420, 64);
	assert_int_equal(tdesc_by_id(&t, TDESC_PL3_SSP_REG)->number, 149);
}

/* Whatever is missing: numbers and offsets stay dense, and AVX-512 brings AVX. */
static void every_set(void **state)
{
	(void)state;
	for (unsigned features = 0; features <= TDESC_ALL; features++) {
		for (int layout = TDESC_GDB; layout <= TDESC_LLDB; layout++) {
			struct tdesc t;
			size_t total = 0;
			tdesc_build(&t, features, layout);
			for (size_t i = 0; i < t.count; i++) {
				assert_int_equal(t.regs[i].number, i);
				assert_int_equal(t.numbers[t.regs[i].id], i);
				assert_true(t.regs[i].size > 0 &&
					    t.regs[i].size <= TDESC_REG_SIZE_MAX);
				assert_ptr_equal(tdesc_by_name(&t, t.regs[i].name), &t.regs[i]);
				assert_true(t.regs[i].offset + t.regs[i].size <= t.size);
				if (t.regs[i].container == TDESC_NONE)
					total += t.regs[i].size;
			}
			assert_int_equal(total, t.size);
		}
	}
	struct tdesc t;
	tdesc_build(&t, TDESC_AVX512, TDESC_GDB);
	assert_non_null(tdesc_by_name(&t, "ymm3h"));
	tdesc_build(&t, 0, TDESC_GDB);
	expect_reg(&t, "orig_rax", 57, 536, 64);
	assert_int_equal(t.count, 58);
	tdesc_build(&t, TDESC_SEGMENTS | TDESC_PKEYS, TDESC_GDB);
	expect_reg(&t, "pkru", 60, 560, 32);
}

static void expect_info(const struct tdesc *t, unsigned number, const char *want)
{
	struct buf b;
	buf_init(&b, 1024);
	tdesc_put_register_info(&b, t, number);
	assert_string_equal(buf_cstr(&b), want);
	buf_fini(&b);
}

static void lldb_layout(void **state)
{
	(void)state;
	struct tdesc t;
	struct buf b;

	tdesc_build(&t, TDESC_ALL, TDESC_LLDB);
	const struct tdesc_reg *rcx = tdesc_by_name(&t, "rcx"), *ch = tdesc_by_name(&t, "ch");
	assert_int_equal(ch->container, rcx->number);
	assert_int_equal(ch->offset, rcx->offset + 1);
	assert_int_equal(ch->size, 1);
	assert_int_equal(tdesc_by_name(&t, "r12d")->container, tdesc_by_name(&t, "r12")->number);
	assert_int_equal(tdesc_by_name(&t, "mm7")->container, tdesc_by_name(&t, "st7")->number);
	assert_null(tdesc_by_name(&t, "zmm0h"));
	/* Real ones keep GDB's numbers: stop replies and p use them. */
	assert_int_equal(tdesc_by_name(&t, "rip")->number, 16);
	assert_int_equal(tdesc_by_name(&t, "fs_base")->number, 58);
	assert_ptr_equal(tdesc_by_name(&t, "eflags"), tdesc_by_name(&t, "rflags"));
	assert_string_equal(t.regs[17].name, "rflags");

	buf_init(&b, 1 << 20);
	tdesc_put_xml(&b, &t);
	const char *xml = buf_cstr(&b);
	assert_non_null(strstr(xml, "<architecture>x86_64</architecture>"));
	assert_non_null(strstr(xml, "value_regnums=\"0\""));
	assert_null(strstr(strstr(xml, "<feature>") + 1, "<feature"));
	buf_fini(&b);
}

static void delve_layout(void **state)
{
	(void)state;
	struct tdesc t;
	tdesc_build(&t, TDESC_SEGMENTS | TDESC_AVX, TDESC_DELVE);
	assert_int_equal(t.count, 76);
	assert_int_equal(t.size, 816);
	const struct tdesc_reg *xmm = tdesc_by_name(&t, "xmm3"), *ymm = tdesc_by_name(&t, "ymm3");
	assert_int_equal(xmm->offset, ymm->offset);
	assert_int_equal(xmm->container, ymm->number);
	assert_int_equal(ymm->size, 32);
	assert_int_equal(xmm->size, 16);
	assert_int_equal(tdesc_by_name(&t, "ymm4")->offset, ymm->offset + 32);
	assert_null(tdesc_by_name(&t, "ymm3h"));
	assert_non_null(tdesc_by_name(&t, "fs_base"));

	expect_info(&t, 0,
		    "name:rax;bitsize:64;offset:0;encoding:uint;format:hex;set:General Purpose "
		    "Registers;"
		    "ehframe:0;dwarf:0;");
	expect_info(&t, 16,
		    "name:rip;bitsize:64;offset:128;encoding:uint;format:hex;set:General Purpose "
		    "Registers;"
		    "ehframe:16;dwarf:16;generic:pc;");
	expect_info(&t, 17,
		    "name:eflags;alt-name:rflags;bitsize:32;offset:136;encoding:uint;format:hex;"
		    "set:General Purpose Registers;ehframe:49;dwarf:49;generic:flags;");
	expect_info(&t, 40,
		    "name:xmm0;bitsize:128;offset:304;encoding:vector;format:vector-uint8;"
		    "set:Advanced Vector Extensions;ehframe:17;dwarf:17;container-regs:3c;");
	expect_info(&t, 60,
		    "name:ymm0;bitsize:256;offset:304;encoding:vector;format:vector-uint8;"
		    "set:Advanced Vector Extensions;");
	expect_info(&t, 75,
		    "name:ymm15;bitsize:256;offset:784;encoding:vector;format:vector-uint8;"
		    "set:Advanced Vector Extensions;");
	expect_info(&t, 76, "E45");
	expect_info(&t, 0xffffffff, "E45");

	tdesc_build(&t, TDESC_SEGMENTS, TDESC_DELVE);
	assert_null(tdesc_by_name(&t, "ymm0"));
	assert_int_equal(tdesc_by_name(&t, "xmm0")->container, TDESC_NONE);
	assert_int_equal(t.size, 560);
}

/* What gdb makes of the document: "name Nr Rel Offset Size Type RmtNr g/G-offset". */
static size_t ask_gdb(const struct tdesc *t)
{
	char path[] = "/tmp/tdesc-XXXXXX", command[256], line[512];
	size_t seen = 0;
	struct buf b;

	buf_init(&b, 1 << 20);
	tdesc_put_xml(&b, t);
	assert_int_equal(buf_error(&b), 0);
	int fd = mkstemp(path);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, b.data, b.len), b.len);
	close(fd);
	buf_fini(&b);

	snprintf(command, sizeof(command),
		 "timeout 30 gdb -nx -batch -ex 'set architecture i386:x86-64' -ex 'set tdesc "
		 "filename %s' "
		 "-ex 'maint print remote-registers' 2>&1",
		 path);
	FILE *f = popen(command, "r");
	assert_non_null(f);
	while (fgets(line, sizeof(line), f)) {
		char name[32], type[64];
		unsigned nr, rel, where, size, number, offset;
		assert_null(strstr(line, "warning"));
		if (sscanf(line, "%31s %u %u %u %u %63s %u %u", name, &nr, &rel, &where, &size,
			   type, &number, &offset) != 8)
			continue;
		expect_reg(t, name, number, offset, size * 8);
		seen++;
	}
	pclose(f);
	unlink(path);
	return seen;
}

static void gdb_agrees(void **state)
{
	(void)state;
	static const unsigned sets[] = { 0, TDESC_SEGMENTS | TDESC_AVX, TDESC_ALL & ~TDESC_AVX512,
					 TDESC_ALL };
	if (system("gdb --version >/dev/null 2>&1") != 0) {
		print_message("gdb is not installed\n");
		skip();
	}
	for (size_t i = 0; i < ARRAY_SIZE(sets); i++) {
		struct tdesc t;
		tdesc_build(&t, sets[i], TDESC_GDB);
		assert_int_equal(ask_gdb(&t), t.count);
	}
}

static void document(void **state)
{
	(void)state;
	struct tdesc t;
	struct buf b;
	buf_init(&b, 1 << 20);
	tdesc_build(&t, TDESC_SEGMENTS | TDESC_AVX, TDESC_GDB);
	tdesc_put_xml(&b, &t);
	const char *xml = buf_cstr(&b);
	assert_non_null(
		strstr(xml, "<architecture>i386:x86-64</architecture>\n<osabi>GNU/Linux</osabi>"));
	assert_non_null(
		strstr(xml,
		       "<reg name=\"eflags\" bitsize=\"32\" type=\"i386_eflags\" regnum=\"17\" "));
	assert_non_null(strstr(xml, "altname=\"rflags\" generic=\"flags\" dwarf_regnum=\"49\" "
				    "ehframe_regnum=\"49\"/>"));
	assert_non_null(strstr(
		xml,
		"name=\"ymm15h\" bitsize=\"128\" type=\"uint128\" regnum=\"75\" offset=\"800\""));
	assert_null(strstr(xml, "avx512"));
	/* Nothing that has to be escaped but what binary replies escape anyway. */
	for (const char *p = xml; *p; p++)
		assert_true((*p >= ' ' && *p <= '~') || *p == '\n');
	buf_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(with_avx),    cmocka_unit_test(with_everything),
		cmocka_unit_test(every_set),   cmocka_unit_test(delve_layout),
		cmocka_unit_test(lldb_layout), cmocka_unit_test(document),
		cmocka_unit_test(gdb_agrees),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
