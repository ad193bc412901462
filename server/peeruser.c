#include "server/peeruser.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>

#include "base/util.h"

/* The connection as its other end has it. Ports in network order. */
struct ends {
	int family;
	uint32_t from[4], to[4];
	uint16_t from_port, to_port;
};

static bool take_address(const struct sockaddr_storage *ss, int *ret_family, uint32_t address[4],
			 uint16_t *ret_port)
{
	const struct sockaddr_in *in = (const struct sockaddr_in *)ss;
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)ss;

	*ret_family = ss->ss_family;
	if (ss->ss_family == AF_INET) {
		address[0] = in->sin_addr.s_addr;
		*ret_port = in->sin_port;
		return true;
	}
	if (ss->ss_family != AF_INET6)
		return false;
	*ret_port = in6->sin6_port;
	memcpy(address, &in6->sin6_addr, sizeof(in6->sin6_addr));
	if (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr)) {
		*ret_family = AF_INET;
		address[0] = address[3];
		address[1] = address[2] = address[3] = 0;
	}
	return true;
}

static bool ends_of(int fd, struct ends *ret)
{
	struct sockaddr_storage here = { 0 }, there = { 0 };
	socklen_t here_len = sizeof(here), there_len = sizeof(there);
	int family;

	*ret = (struct ends){ 0 };
	return !getsockname(fd, (struct sockaddr *)&here, &here_len) &&
	       !getpeername(fd, (struct sockaddr *)&there, &there_len) &&
	       take_address(&here, &family, ret->to, &ret->to_port) &&
	       take_address(&there, &ret->family, ret->from, &ret->from_port) &&
	       family == ret->family;
}

/* ---- netlink ---- */

static int ask(const struct ends *e, uid_t *ret)
{
	struct {
		struct nlmsghdr head;
		struct inet_diag_req_v2 what;
	} request = {
		.head = { .nlmsg_len = sizeof(request),
			  .nlmsg_type = SOCK_DIAG_BY_FAMILY,
			  .nlmsg_flags = NLM_F_REQUEST },
		.what = { .sdiag_family = (uint8_t)e->family,
			  .sdiag_protocol = IPPROTO_TCP,
			  .idiag_states = ~0u,
			  .id = { .idiag_sport = e->from_port,
				  .idiag_dport = e->to_port,
				  .idiag_cookie = { INET_DIAG_NOCOOKIE, INET_DIAG_NOCOOKIE } } },
	};
	union {
		struct nlmsghdr head;
		uint8_t bytes[4096];
	} answer;
	struct timeval patience = { .tv_sec = 1 };

	memcpy(request.what.id.idiag_src, e->from, sizeof(e->from));
	memcpy(request.what.id.idiag_dst, e->to, sizeof(e->to));
	_cleanup_close_ int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
	if (fd < 0)
		return -errno;
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	if (send(fd, &request, sizeof(request), 0) < 0)
		return -errno;
	ssize_t n = recv(fd, &answer, sizeof(answer), 0);
	if (n < (ssize_t)NLMSG_LENGTH(sizeof(struct inet_diag_msg)) ||
	    answer.head.nlmsg_type != SOCK_DIAG_BY_FAMILY)
		return -ENOENT;
	struct inet_diag_msg msg;
	memcpy(&msg, NLMSG_DATA(&answer.head), sizeof(msg));
	if (!msg.idiag_inode || msg.id.idiag_sport != e->from_port ||
	    msg.id.idiag_dport != e->to_port)
		return -ENOENT;
	*ret = msg.idiag_uid;
	return 0;
}

/* ---- /proc ---- */

/* As /proc/net/tcp writes an address: words in the machine's byte order, port in hexadecimal. */
static void put_end(char *into, size_t size, int family, const uint32_t address[4], uint16_t port)
{
	if (family == AF_INET)
		snprintf(into, size, "%08X:%04X", address[0], ntohs(port));
	else
		snprintf(into, size, "%08X%08X%08X%08X:%04X", address[0], address[1], address[2],
			 address[3], ntohs(port));
}

static int look(const struct ends *e, uid_t *ret)
{
	char from[48], to[48], line[512], local[48], remote[48];
	unsigned long inode;
	unsigned uid;
	int r = -ENOENT;

	put_end(from, sizeof(from), e->family, e->from, e->from_port);
	put_end(to, sizeof(to), e->family, e->to, e->to_port);
	FILE *f = fopen(e->family == AF_INET ? "/proc/net/tcp" : "/proc/net/tcp6", "re");
	while (f && r < 0 && fgets(line, sizeof(line), f)) {
		if (sscanf(line, " %*s %47s %47s %*s %*s %*s %*s %u %*s %lu", local, remote, &uid,
			   &inode) == 4 &&
		    !strcmp(local, from) && !strcmp(remote, to) && inode) {
			*ret = uid;
			r = 0;
		}
	}
	if (f)
		fclose(f);
	return r;
}

int peeruser_of(int fd, uid_t *ret)
{
	struct ends e;

	if (!ends_of(fd, &e))
		return -ENOENT;
	return ask(&e, ret) == 0 || look(&e, ret) == 0 ? 0 : -ENOENT;
}
