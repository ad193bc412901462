/* Build information: any bytes behind the magic. */
#include <stddef.h>
#include <stdint.h>

#include "dwarf/go/buildinfo.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct go_buildinfo info;
	char value[64];

	if (go_buildinfo_parse(bytes_of(data, size), &info)) {
		(void)go_buildinfo_setting(&info, "-ldflags", value, sizeof(value));
		(void)go_buildinfo_setting(&info, "path", value, sizeof(value));
		(void)go_version_minor(info.version);
		go_buildinfo_fini(&info);
	}
	return 0;
}
