// Asks for the picture at the size of the argument: "/a/1.webp" with size 64 becomes "/a/1.webp?size=64".
#include "edgecache.h"

EC_DESCRIBE("{\"abi\":1,\"args\":[\"size\"]}")

// pixels returns a number from 16 to 1024, 0 for everything else.
static uint32_t pixels(ec_text t) {
	uint32_t n = 0;
	if (t.len > 4) return 0;
	for (uint32_t i = 0; i < t.len; i++) {
		if (t.at[i] < '0' || t.at[i] > '9') return 0;
		n = n * 10 + (t.at[i] - '0');
	}
	return n >= 16 && n <= 1024 ? n : 0;
}

EC_EXPORT("edgecache_view") uint64_t view(const uint8_t *input, uint32_t len) {
	ec_call c;
	ec_read(&c, input, len);
	ec_text size = ec_value(c.arg[0]), avatar = ec_value(c.field[EC_AVATAR]);
	if (!size.at || !avatar.len) return 0;
	if (!pixels(size)) return ec_refuse("size wants 16 to 1024");
	uint8_t mark = '?';
	for (uint32_t i = 0; i < avatar.len; i++)
		if (avatar.at[i] == '?') mark = '&';
	uint8_t *url = ec_alloc(avatar.len + 6 + size.len), *p = ec_copy(url, avatar);
	*p++ = mark;
	p = ec_copy(ec_copy(p, (ec_text){(const uint8_t *)"size=", 5}), size);
	ec_set(&c, EC_AVATAR, (ec_text){url, p - url});
	return ec_show(&c);
}
