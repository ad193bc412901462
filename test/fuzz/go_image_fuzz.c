/* Any ELF file, which is its own memory too: the image's tables, and the Go model when it says it is one. */
#include <string.h>

#include "dwarf/go/model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool count_reloc(void *ctx, uint64_t place, uint64_t addend)
{
	uint64_t *sum = ctx;
	*sum += place + addend;
	return true;
}

static int ignore(void *ctx, const struct go_goroutine *g)
{
	size_t *n = ctx;
	*n += g->goid != 0;
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct image *img = NULL;
	struct go_model *model = NULL;
	const struct image_segment *segments;
	size_t len;
	uint64_t sum = 0;

	if (image_of_bytes(data, size, "fuzz", &img, NULL) < 0)
		return 0;
	(void)image_build_id(img, &len);
	(void)image_note(img, "Go", 4, &len);
	(void)image_symbol(img, "main");
	(void)image_symbol_at(img, image_entry(img));
	(void)image_section(img, ".text");
	image_relative_relocs(img, count_reloc, &sum);
	for (size_t i = image_segments(img, &segments); i-- > 0;) {
		(void)image_at(img, segments[i].vaddr, 8);
		(void)image_cstr_at(img, segments[i].vaddr, 4096);
	}
	struct image_mem im = { .img = img };
	struct mem mem = image_mem_as_mem(&im);
	if (go_model_open(img, 0, &mem, &model, NULL) == 0 && model) {
		struct buf text;
		size_t n = 0;
		buf_init(&text, 1 << 20);
		go_model_describe(model, &text);
		(void)!go_walk(model, GO_WALK_ALL, ignore, &n, NULL);
		buf_fini(&text);
	}
	go_model_free(model);
	image_free(img);
	return 0;
}
