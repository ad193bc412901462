#include "target/ax_format.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* One literal stretch or one conversion of a printf. */
enum piece_kind { PIECE_TEXT, PIECE_INT, PIECE_CHAR, PIECE_POINTER, PIECE_STRING };

enum {
	WIDTH_MAX = 4096,
	SPEC_MAX = 32,
};

struct ax_piece {
	enum piece_kind kind;
	bool is_signed;
	uint8_t bytes;       /* of the argument that count */
	uint16_t precision;  /* of %s; WIDTH_MAX + 1: none */
	uint32_t at, len;    /* PIECE_TEXT: in the format's text */
	char spec[SPEC_MAX]; /* for snprintf, with the size replaced by ours */
};

void ax_format_fini(struct ax_format *f)
{
	free(f->pieces);
	free(f->text);
}

static int octal(const char **from)
{
	int value = 0;
	for (int i = 0; i < 3 && **from >= '0' && **from <= '7'; i++)
		value = value * 8 + *(*from)++ - '0';
	return value & 0xff;
}

/* The client sends the format as the user wrote it: \n is two characters. In place; a NUL that was
 * written \0 ends the text. */
static int process_escapes(char *text, struct err *err)
{
	static const char names[] = "abefnrtv\\\"'?", values[] = "\a\b\033\f\n\r\t\v\\\"'?";
	const char *from = text;
	char *to = text;
	while (*from) {
		if (*from != '\\') {
			*to++ = *from++;
			continue;
		}
		from++;
		const char *named = *from ? strchr(names, *from) : NULL;
		if (named) {
			*to++ = values[named - names];
			from++;
		} else if (*from >= '0' && *from <= '7') {
			*to++ = (char)octal(&from);
		} else {
			return err_set(err, -EINVAL, "the format has the unknown escape \\%c",
				       *from ? *from : ' ');
		}
	}
	*to = '\0';
	return 0;
}

static int number(const char **from)
{
	int value = 0;
	while (**from >= '0' && **from <= '9') {
		if (value <= WIDTH_MAX)
			value = value * 10 + **from - '0';
		(*from)++;
	}
	return value;
}

/* Bytes of h, hh, l, ll, z, j, t, or of int. */
static uint8_t size_modifier(const char **from)
{
	switch (**from) {
	case 'h': *from += (*from)[1] == 'h' ? 2 : 1; return (*from)[-2] == 'h' ? 1 : 2;
	case 'l': *from += (*from)[1] == 'l' ? 2 : 1; return 8;
	case 'z':
	case 'j':
	case 't': (*from)++; return 8;
	default: return 4;
	}
}

static int conversion_kind(char letter, bool sized, struct ax_piece *p, struct err *err)
{
	switch (letter) {
	case 'd':
	case 'i':
		p->is_signed = true;
		p->kind = PIECE_INT;
		return 0;
	case 'u':
	case 'o':
	case 'x':
	case 'X': p->kind = PIECE_INT; return 0;
	case 'p': p->kind = PIECE_POINTER; return 0;
	case 'c':
	case 's':
		if (sized)
			return err_set(
				err, -EINVAL,
				"the format wants wide characters (%%l%c), which are not offered",
				letter);
		p->kind = letter == 'c' ? PIECE_CHAR : PIECE_STRING;
		return 0;
	case 'a':
	case 'A':
	case 'e':
	case 'E':
	case 'f':
	case 'F':
	case 'g':
	case 'G':
	case 'L':
		return err_set(err, -EINVAL,
			       "the format wants a floating-point number (%%%c), which agents "
			       "cannot print",
			       letter);
	default:
		return err_set(err, -EINVAL, "the format has the unknown conversion %%%c",
			       letter ? letter : ' ');
	}
}

/* *from is behind the '%'. */
static int parse_conversion(const char **from, struct ax_piece *p, struct err *err)
{
	static const char flags[] = "-+ #0'";
	size_t len = 0;
	p->spec[len++] = '%';
	for (const char *flag = flags; *flag; flag++)
		if (strspn(*from, flags) && memchr(*from, *flag, strspn(*from, flags)))
			p->spec[len++] = *flag;
	*from += strspn(*from, flags);
	int width = number(from);
	p->precision = WIDTH_MAX + 1;
	if (width)
		len += (size_t)snprintf(p->spec + len, SPEC_MAX - len, "%d", width);
	if (**from == '.') {
		(*from)++;
		int precision = number(from);
		p->precision = (uint16_t)MIN(precision, WIDTH_MAX + 1);
		len += (size_t)snprintf(p->spec + len, SPEC_MAX - len, ".%d", precision);
		width = MAX(width, precision);
	}
	if (width > WIDTH_MAX)
		return err_set(err, -EINVAL, "the format has a width above %d", WIDTH_MAX);
	const char *modifier = *from;
	p->bytes = size_modifier(from);
	int r = conversion_kind(**from, *from != modifier, p, err);
	if (r < 0)
		return r;
	snprintf(p->spec + len, SPEC_MAX - len, p->kind == PIECE_INT ? "ll%c" : "%c", **from);
	(*from)++;
	return 0;
}

static int parse_pieces(struct ax_format *f, unsigned args, struct err *err)
{
	unsigned used = 0;
	const char *from = f->text;
	while (*from) {
		struct ax_piece *p = &f->pieces[f->count++];
		p->at = (uint32_t)(from - f->text);
		p->len = (uint32_t)strcspn(from, "%");
		if (p->len) {
			from += p->len;
		} else if (from[1] == '%') {
			p->len = 1;
			from += 2;
		} else {
			from++;
			int r = parse_conversion(&from, p, err);
			if (r < 0)
				return r;
			used++;
		}
	}
	if (used != args)
		return err_set(err, -EINVAL, "the format has %u conversions and %u arguments", used,
			       args);
	return 0;
}

int ax_format_init(struct ax_format *f, const uint8_t *text, size_t len, unsigned args,
		   struct err *err)
{
	if (len == 0 || text[len - 1] != '\0')
		return err_set(err, -EINVAL, "the format of printf does not end in a NUL");
	f->text = strdup((const char *)text);
	/* Every piece takes at least one character. */
	f->pieces = calloc(strlen((const char *)text) + 1, sizeof(*f->pieces));
	if (!f->text || !f->pieces)
		return -ENOMEM;
	int r = process_escapes(f->text, err);
	return r < 0 ? r : parse_pieces(f, args, err);
}

/* Room left in what one evaluation may print; start is where its output began. */
static size_t room(const struct buf *out, size_t start)
{
	size_t used = out->len - start;
	return used < AX_PRINT_MAX ? AX_PRINT_MAX - used : 0;
}

static int print_string(const struct ax_piece *p, const struct ax_env *env, uint64_t addr,
			struct err *err)
{
	char text[AX_PRINT_MAX + 1];
	size_t size = p->precision <= WIDTH_MAX ? (size_t)p->precision + 1 : sizeof(text);
	text[0] = '\0';
	if (size > 1 && (!env->mem || mem_read_cstr(env->mem, addr, text, size) < 0))
		return err_set(err, -EFAULT, "cannot read the string at 0x%" PRIx64 " for printf",
			       addr);
	buf_printf(env->out, p->spec, text);
	return 0;
}

static int print_piece(const struct ax_format *f, const struct ax_piece *p,
		       const struct ax_env *env, uint64_t arg, struct err *err)
{
	switch (p->kind) {
	case PIECE_TEXT: buf_put(env->out, f->text + p->at, p->len); break;
	case PIECE_INT:
		buf_printf(env->out, p->spec,
			   (long long)ax_extend(arg, p->bytes * 8u, p->is_signed));
		break;
	case PIECE_CHAR: buf_printf(env->out, p->spec, (int)(unsigned char)arg); break;
	case PIECE_POINTER: buf_printf(env->out, p->spec, (void *)(uintptr_t)arg); break;
	case PIECE_STRING: return print_string(p, env, arg, err);
	}
	return 0;
}

/* args points at the first argument, which lies highest on the stack. */
int ax_format_print(const struct ax_format *f, const struct ax_env *env, const uint64_t *args,
		    size_t start, struct err *err)
{
	size_t before = env->out->len;
	for (size_t i = 0; i < f->count; i++) {
		const struct ax_piece *p = &f->pieces[i];
		uint64_t arg = p->kind == PIECE_TEXT ? 0 : *args--;
		int r = room(env->out, start) ? print_piece(f, p, env, arg, err) : 0;
		if (r < 0) {
			env->out->len = before;
			return r;
		}
	}
	if (env->out->len - start > AX_PRINT_MAX)
		env->out->len = start + AX_PRINT_MAX;
	return 0;
}
