#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#include "protocol/features.h"

static struct client_features parse(const char *list)
{
	struct client_features f;
	memset(&f, 0xff, sizeof(f));
	features_parse(list, strlen(list), &f);
	return f;
}

static void recorded_lists(void **state)
{
	(void)state;
	struct client_features f =
		parse("multiprocess+;swbreak+;hwbreak+;qRelocInsn+;fork-events+;vfork-events+;exec-"
		      "events+;vContSupported+;"
		      "QThreadEvents+;no-resumed+;memory-tagging+;xmlRegisters=i386");
	assert_int_equal(f.kind, CLIENT_GDB);
	assert_true(f.multiprocess && f.swbreak && f.hwbreak && f.fork_events && f.vfork_events);
	assert_true(f.exec_events && f.vcont && f.thread_events && f.no_resumed && f.reloc_insn &&
		    f.memory_tagging);
	assert_false(f.error_message || f.single_inf_arg || f.thread_options || f.multi_wp_addr);
	assert_string_equal(f.xml_registers, "i386");

	f = parse("multiprocess+;swbreak+;hwbreak+;qRelocInsn+;fork-events+;vfork-events+;exec-"
		  "events+;vContSupported+;"
		  "QThreadEvents+;QThreadOptions+;no-resumed+;memory-tagging+;error-message+;"
		  "single-inf-arg+;"
		  "multi-wp-addr+;xmlRegisters=i386");
	assert_int_equal(f.kind, CLIENT_GDB);
	assert_true(f.error_message && f.single_inf_arg && f.thread_options && f.multi_wp_addr);

	f = parse("xmlRegisters=i386,arm,mips,arc;multiprocess+;fork-events+;vfork-events+");
	assert_int_equal(f.kind, CLIENT_LLDB);
	assert_true(f.multiprocess && f.fork_events && !f.swbreak);
	f = parse("xmlRegisters=i386,arm,mips,arc;multiprocess+;fork-events+;vfork-events+;swbreak+"
		  ";hwbreak+");
	assert_int_equal(f.kind, CLIENT_LLDB);

	f = parse("swbreak+;hwbreak+;no-resumed+;xmlRegisters=i386");
	assert_int_equal(f.kind, CLIENT_DELVE);
	f = parse("multiprocess+;swbreak+;hwbreak+;no-resumed+;xmlRegisters=i386");
	assert_int_equal(f.kind, CLIENT_DELVE);
}

static void order_and_oddities(void **state)
{
	(void)state;
	struct client_features f =
		parse("xmlRegisters=i386;no-resumed+;vContSupported+;;swbreak+;multiprocess+");
	assert_true(f.kind == CLIENT_GDB && f.multiprocess && f.swbreak && f.vcont);

	f = parse("");
	assert_int_equal(f.kind, CLIENT_UNKNOWN);
	assert_string_equal(f.xml_registers, "");
	f = parse("multiprocess-;swbreak?;hwbreak;x+;=;;;+;-;multiprocess=1;swbreak+=");
	assert_false(f.multiprocess || f.swbreak || f.hwbreak);
	f = parse("multiprocess+;multiprocess-");
	assert_false(f.multiprocess);
	f = parse("swbreakx+;xswbreak+;swbrea+");
	assert_false(f.swbreak);
	f = parse("xmlRegisters=armv7,i38");
	assert_int_equal(f.kind, CLIENT_UNKNOWN);

	char longer[200] = "xmlRegisters=";
	memset(longer + 13, 'a', 180);
	f = parse(longer);
	assert_int_equal(strlen(f.xml_registers), sizeof(f.xml_registers) - 1);
	assert_string_equal(features_client_name(CLIENT_LLDB), "lldb");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(recorded_lists),
		cmocka_unit_test(order_and_oddities),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
