/* The symbol file made of a function table: as libdw reads it, and as gdb does on a stripped program. */
#include <dwarf.h>
#include <elfutils/libdw.h>

#include "go_live.h"
#include "go_tiny.h"
#include "dwarf/go/symfile.h"

struct made {
	bool joined; /* the program and its symbols as one */
	struct image *img;
	struct go_model *m;
	struct buf file;
	Elf *elf;
	Dwarf *dw;
	Dwarf_CFI *cfi;
};

static struct tiny tiny;

static int build_joined(struct made *s, struct err *err)
{
	struct go_symfile_join join;
	int r = go_symfile_join(s->m, &join, err);
	uint64_t size = image_size(s->img);

	buf_init(&s->file, GO_SYMFILE_MAX);
	if (r == 0) {
		assert_true(join.at >= size && join.at < size + 8);
		buf_put(&s->file, image_bytes(s->img, 0, size), size);
		while (s->file.len < join.at)
			buf_putc(&s->file, 0);
		memcpy(s->file.data, join.header, sizeof(join.header));
		buf_put(&s->file, join.tail.data, join.tail.len);
		assert_int_equal(buf_error(&s->file), 0);
	}
	buf_fini(&join.tail);
	return r;
}

static void make(struct made *s, const char *path)
{
	struct err err = { 0 };
	int r = path ? image_open(path, &s->img, &err)
		     : image_of_bytes(tiny.data, sizeof(tiny.data), "tiny", &s->img, &err);
	if (r == 0)
		r = go_model_open(s->img, 0, NULL, &s->m, &err);
	if (r == 0)
		r = s->joined ? build_joined(s, &err) : go_symfile_build(s->m, &s->file, &err);
	if (r < 0)
		fail_msg("%s", err_text(&err, r));
	elf_version(EV_CURRENT);
	s->elf = elf_memory((char *)s->file.data, s->file.len);
	assert_non_null(s->elf);
	s->dw = dwarf_begin_elf(s->elf, DWARF_C_READ, NULL);
	assert_non_null(s->dw);
	s->cfi = dwarf_getcfi(s->dw);
	assert_non_null(s->cfi);
}

static void unmake(struct made *s)
{
	dwarf_end(s->dw);
	elf_end(s->elf);
	buf_fini(&s->file);
	go_model_free(s->m);
	image_free(s->img);
}

/* ---- against the model ---- */

static void check_line(struct made *s, Dwarf_Die *unit, uint64_t pc)
{
	struct go_line want = go_line_at(s->m, pc);
	Dwarf_Line *line = dwarf_getsrc_die(unit, pc);
	int number = 0;

	if (!want.line || !want.file)
		return;
	assert_non_null(line);
	assert_int_equal(dwarf_lineno(line, &number), 0);
	assert_int_equal(number, want.line);
	assert_string_equal(dwarf_linesrc(line, NULL, NULL), want.file);
}

/* Every inlined call at pc, innermost first, then the function. */
static void check_scopes(struct made *s, Dwarf_Die *unit, uint64_t pc)
{
	struct go_line want[32];
	Dwarf_Die *scopes = NULL;
	size_t n_want = go_lines_at(s->m, pc, want, ARRAY_SIZE(want));
	Dwarf_Die *innermost = NULL;
	size_t at = 0;

	/* The innermost one, then what it stands in (dwarf_getscopes() goes on where an inlined function was written). */
	assert_true(dwarf_getscopes(unit, pc, &innermost) > 0);
	int n = dwarf_getscopes_die(innermost, &scopes);
	free(innermost);

	for (int i = 0; i < n; i++) {
		int tag = dwarf_tag(&scopes[i]);
		if (tag != DW_TAG_inlined_subroutine && tag != DW_TAG_subprogram)
			continue;
		assert_true(at < n_want);
		assert_string_equal(dwarf_diename(&scopes[i]), want[at].function);
		if (tag == DW_TAG_inlined_subroutine) {
			Dwarf_Attribute attr;
			Dwarf_Word line = 0;
			assert_int_equal(dwarf_formudata(dwarf_attr(&scopes[i], DW_AT_call_line,
								    &attr),
							 &line),
					 0);
			assert_int_equal(line, want[at + 1].line);
		}
		at++;
		if (tag == DW_TAG_subprogram)
			break;
	}
	free(scopes);
	assert_int_equal(at, n_want);
}

static void check_cfi(struct made *s, uint64_t pc)
{
	struct go_pcln_func f;
	Dwarf_Frame *frame = NULL;
	Dwarf_Op *ops;
	size_t n_ops;
	int32_t depth;

	assert_true(go_pclntab_lookup(&s->m->pcln, pc, &f));
	if (!go_pclntab_sp_delta(&s->m->pcln, &f, pc, &depth) || !f.pcsp)
		return;
	enum rt_func rt = rt_at(s->m, f.entry);
	if (rt == RT_SIGRETURN || rt == RT_SIGRETURN_SIGACTION)
		return;
	assert_int_equal(dwarf_cfi_addrframe(s->cfi, pc, &frame), 0);
	assert_int_equal(dwarf_frame_cfa(frame, &ops, &n_ops), 0);
	assert_int_equal(n_ops, 1);
	assert_int_equal(ops[0].atom, DW_OP_bregx);
	assert_int_equal(ops[0].number, 7);
	assert_int_equal(ops[0].number2, depth + 8);
	free(frame);
}

static void check_symbol(struct made *s, struct image *made, const struct go_func *f)
{
	struct image_symbol symbol = image_symbol_at(made, f->entry);
	assert_non_null(symbol.name);
	assert_int_equal(symbol.value, f->entry);
	if (rt_at(s->m, f->entry) != RT_SIGRETURN)
		assert_string_equal(symbol.name, f->name);
}

/* What the program had is where it was. */
static void check_kept(struct made *s, struct image *made)
{
	const struct image_section *had, *has;
	size_t n_had = image_sections(s->img, &had), n_has = image_sections(made, &has);

	assert_true(n_has > n_had);
	for (size_t i = 0; i < n_had; i++) {
		assert_string_equal(has[i].name, had[i].name);
		assert_int_equal(has[i].type, had[i].type);
		assert_int_equal(has[i].flags, had[i].flags);
		assert_int_equal(has[i].addr, had[i].addr);
		assert_int_equal(has[i].offset, had[i].offset);
		assert_int_equal(has[i].size, had[i].size);
		assert_int_equal(has[i].link, had[i].link);
		assert_int_equal(has[i].info, had[i].info);
	}
}

static void check_all(struct made *s, size_t every)
{
	struct image *made = NULL;
	struct err err = { 0 };
	size_t want_len;

	if (image_of_bytes(s->file.data, s->file.len, "made", &made, &err) < 0)
		fail_msg("%s", err.text);
	if (s->joined)
		check_kept(s, made);
	const uint8_t *want = image_build_id(s->img, &want_len);
	const struct image_section *note = image_section(made, ".note.gnu.build-id");
	assert_true((want != NULL) == (note != NULL));
	if (want) {
		const uint8_t *raw = image_section_bytes(made, note);
		assert_int_equal(note->size, 16 + want_len);
		assert_memory_equal(raw + 16, want, want_len);
	}
	assert_int_equal(image_entry(made), image_entry(s->img));
	assert_int_equal(image_type(made), image_type(s->img));

	size_t count = go_func_count(s->m);
	for (size_t i = 0; i < count; i += every) {
		struct go_func f = go_func_nth(s->m, i);
		assert_non_null(f.name);
		check_symbol(s, made, &f);
	}
	image_free(made);

	size_t seen = 0;
	Dwarf_CU *cu = NULL;
	Dwarf_Die unit, die;
	while (dwarf_get_units(s->dw, cu, &cu, NULL, NULL, &unit, NULL) == 0) {
		assert_int_equal(dwarf_child(&unit, &die), 0);
		do {
			Dwarf_Addr low, high;
			if (dwarf_tag(&die) != DW_TAG_subprogram || dwarf_lowpc(&die, &low) != 0)
				continue;
			assert_int_equal(dwarf_highpc(&die, &high), 0);
			struct go_func f = go_func_at(s->m, low);
			assert_int_equal(f.entry, low);
			assert_true(high <= f.end);
			if (seen++ % every)
				continue;
			for (uint64_t pc = low; pc < high; pc += 7) {
				check_line(s, &unit, pc);
				check_scopes(s, &unit, pc);
				check_cfi(s, pc);
			}
		} while (dwarf_siblingof(&die, &die) == 0);
	}
	assert_int_equal(seen, count);
}

static void the_made_up_program(void **state _unused_)
{
	struct made s = { 0 };
	tiny_make(&tiny);
	make(&s, NULL);
	check_all(&s, 1);
	unmake(&s);
	s = (struct made){ .joined = true };
	make(&s, NULL);
	check_all(&s, 1);
	unmake(&s);
}

static void real_programs(void **state _unused_)
{
	for (size_t i = 0; i < live_n_paths; i++) {
		struct made s = { 0 };
		make(&s, live_paths[i]);
		check_all(&s, 13);
		printf("%-28s %zu functions, %zu bytes\n", live_label(live_paths[i]),
		       go_func_count(s.m), s.file.len);
		fflush(stdout);
		bool needed = go_symfile_is_needed(s.m);
		unmake(&s);
		assert_int_equal(needed, strstr(live_paths[i], "stripped") != NULL);
		if (!needed)
			continue;
		s = (struct made){ .joined = true };
		make(&s, live_paths[i]);
		check_all(&s, 13);
		unmake(&s);
	}
}

/* ---- through gdb ---- */

static const char gdb_script[] = "set confirm off\n"
				 "set pagination off\n"
				 "set startup-with-shell off\n"
				 "exec-file %s\n"
				 "symbol-file %s\n"
				 "handle SIGURG nostop noprint pass\n"
				 "info line main.main\n"
				 "break main.inlinedInner\n"
				 "run\n"
				 "bt\n"
				 "delete\n"
				 "break runtime.sighandler\n"
				 "continue\n"
				 "bt\n"
				 "kill\n";

static void put_file(const char *path, const void *data, size_t len)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	for (size_t at = 0; at < len;) {
		ssize_t n = write(fd, (const char *)data + at, len - at);
		assert_true(n > 0);
		at += (size_t)n;
	}
	close(fd);
}

static char *run_gdb(const char *dir)
{
	char command[PATH_MAX];
	snprintf(command, sizeof(command),
		 "timeout %d gdb -nx -nh -batch -x %s/script </dev/null 2>&1",
		 getenv("STOPGO_GO_FULL") ? 500 : 60, dir);
	FILE *f = popen(command, "r");
	char *text = calloc(1, 1 << 20);
	assert_true(f && text);
	size_t have = fread(text, 1, (1 << 20) - 1, f);
	text[have] = 0;
	pclose(f);
	return text;
}

/* text has these in this order. */
static void expect(const char *text, const char *const *parts, size_t count)
{
	const char *at = text;
	for (size_t i = 0; i < count; i++) {
		const char *next = strstr(at, parts[i]);
		if (!next)
			fail_msg("gdb does not say '%s' where it should: %s", parts[i], text);
		at = next + strlen(parts[i]);
	}
}

static void check_gdb(const char *path)
{
	static const char *const parts[] = {
		"Line ",
		"main.go\" starts at address",
		"<main.main>",
		"Breakpoint 1 at",
		"hit Breakpoint 1, main.inlinedInner ()",
		"#0  main.inlinedInner () at ",
		"main.go:",
		"#1  main.inlinedMiddle () at ",
		"#2  main.inlinedOuter () at ",
		"#3  main.start.func",
		"in runtime.goexit ()",
		"hit Breakpoint 2, runtime.sighandler",
		"#1 ",
		"in runtime.sigtrampgo ()",
		"#2 ",
		"in runtime.sigtramp ()",
		"#3  <signal handler called>",
		"#4 ",
	};
	char dir[] = "/tmp/symfile-XXXXXX";
	char script[PATH_MAX * 3], name[PATH_MAX], sym[PATH_MAX];
	struct made s = { 0 };

	make(&s, path);
	assert_non_null(mkdtemp(dir));
	snprintf(sym, sizeof(sym), "%s/states.debug", dir);
	put_file(sym, s.file.data, s.file.len);
	snprintf(script, sizeof(script), gdb_script, path, sym);
	snprintf(name, sizeof(name), "%s/script", dir);
	put_file(name, script, strlen(script));
	char *said = run_gdb(dir);
	unlink(name);
	unlink(sym);
	rmdir(dir);
	expect(said, parts, ARRAY_SIZE(parts));
	printf("%-28s gdb breaks, tells lines, inlined calls and signal handlers\n",
	       live_label(path));
	free(said);
	unmake(&s);
}

static void gdb_on_stripped_programs(void **state _unused_)
{
	size_t done = 0;

	if (system("gdb --version >/dev/null 2>&1") != 0) {
		printf("no gdb: skipped\n");
		skip();
	}
	for (size_t i = 0; i < live_n_paths; i++) {
		/* Where a position-independent program is, gdb learns from the file it runs: tested through the server. */
		if (!strstr(live_paths[i], "stripped") || strstr(live_paths[i], "pie"))
			continue;
		check_gdb(live_paths[i]);
		done++;
	}
	if (!done)
		skip();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_made_up_program),
		cmocka_unit_test(real_programs),
		cmocka_unit_test(gdb_on_stripped_programs),
	};
	live_fixtures("states");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
