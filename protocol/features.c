#include "protocol/features.h"
#include "protocol/packet.h"

#include <stddef.h>
#include <string.h>

static const struct {
	const char *name;
	size_t flag; /* offset of a bool in struct client_features */
} flags[] = {
	{ "QThreadEvents", offsetof(struct client_features, thread_events) },
	{ "QThreadOptions", offsetof(struct client_features, thread_options) },
	{ "error-message", offsetof(struct client_features, error_message) },
	{ "exec-events", offsetof(struct client_features, exec_events) },
	{ "fork-events", offsetof(struct client_features, fork_events) },
	{ "hwbreak", offsetof(struct client_features, hwbreak) },
	{ "memory-tagging", offsetof(struct client_features, memory_tagging) },
	{ "multi-wp-addr", offsetof(struct client_features, multi_wp_addr) },
	{ "multiprocess", offsetof(struct client_features, multiprocess) },
	{ "no-resumed", offsetof(struct client_features, no_resumed) },
	{ "qRelocInsn", offsetof(struct client_features, reloc_insn) },
	{ "single-inf-arg", offsetof(struct client_features, single_inf_arg) },
	{ "swbreak", offsetof(struct client_features, swbreak) },
	{ "vContSupported", offsetof(struct client_features, vcont) },
	{ "vfork-events", offsetof(struct client_features, vfork_events) },
};

/* "name+" or "name-" */
static void set_flag(struct client_features *f, const struct args *element)
{
	uint8_t sign = element->data[element->len - 1];
	struct args name = args_of(element->data, element->len - 1);

	if (sign != '+' && sign != '-')
		return;
	for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
		if (args_is(&name, flags[i].name)) {
			*(bool *)((char *)f + flags[i].flag) = sign == '+';
			return;
		}
	}
}

static bool names_arch(const char *list, const char *arch)
{
	size_t n = strlen(arch);
	for (; *list; list += strcspn(list, ","), list += *list == ',')
		if (strcspn(list, ",") == n && !memcmp(list, arch, n))
			return true;
	return false;
}

/*
 * lldb lists the architectures whose XML it reads, gdb on x86 only i386. Delve copies part of gdb's
 * list: the two are told apart by what every gdb since 7.x says as well.
 */
static enum client_kind who(const struct client_features *f)
{
	if (names_arch(f->xml_registers, "arm") || names_arch(f->xml_registers, "mips"))
		return CLIENT_LLDB;
	if (f->vcont || f->reloc_insn || f->thread_events || f->exec_events || f->error_message)
		return CLIENT_GDB;
	if (names_arch(f->xml_registers, "i386") && f->swbreak && f->hwbreak && f->no_resumed)
		return CLIENT_DELVE;
	if (names_arch(f->xml_registers, "i386"))
		return CLIENT_GDB;
	return CLIENT_UNKNOWN;
}

void features_parse(const void *list, size_t len, struct client_features *ret)
{
	struct args a = args_of(list, len), key, value;

	*ret = (struct client_features){ 0 };
	while (args_key_value(&a, '=', &key, &value)) {
		if (value.data && args_is(&key, "xmlRegisters")) {
			size_t n = MIN(value.len, sizeof(ret->xml_registers) - 1);
			memcpy(ret->xml_registers, value.data, n);
			ret->xml_registers[n] = 0;
		} else if (!value.data) {
			set_flag(ret, &key);
		}
	}
	ret->kind = who(ret);
}

const char *features_client_name(enum client_kind kind)
{
	switch (kind) {
	case CLIENT_GDB: return "gdb";
	case CLIENT_LLDB: return "lldb";
	case CLIENT_DELVE: return "delve";
	case CLIENT_UNKNOWN: break;
	}
	return "unknown";
}
